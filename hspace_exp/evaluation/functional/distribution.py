"""Distances between sets of images, from features of any extractor."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hspace_exp.errors import UserError


def frechet_distance(x: Tensor, y: Tensor) -> Tensor:
    """Fréchet distance between Gaussians fitted to two sets of features (FID with Inception features).

    Implements |μ_x - μ_y|² + tr(Σ_x + Σ_y - 2 (Σ_x Σ_y)^½) of Heusel et al. (NeurIPS 2017), eq. (6), with unbiased
    covariances. With Σ = AᵀA for centred features A, the trace of the root is the sum of the singular values of
    A_x A_yᵀ; a QR decomposition makes that matrix at most D x D. No root of a singular matrix is taken, so fewer
    images than dimensions are exact as well. (Few images bias the distance upwards all the same: state N.)

    Args:
        x: (N, D) features, N >= 2.
        y: (M, D) features, M >= 2.

    Returns:
        scalar float64, >= 0; 0 for equal sets.
    """
    _check(x, y)
    x, y = x.double(), y.double()
    mean_x, mean_y = x.mean(0), y.mean(0)
    root_x = _r_factor((x - mean_x) / (len(x) - 1) ** 0.5)
    root_y = _r_factor((y - mean_y) / (len(y) - 1) ** 0.5)
    cross = torch.linalg.svdvals(root_x @ root_y.T).sum()
    distance = (mean_x - mean_y).square().sum() + root_x.square().sum() + root_y.square().sum() - 2 * cross
    return distance.clamp(min=0)


def polynomial_kernel(x: Tensor, y: Tensor) -> Tensor:
    """k(a, b) = (aᵀb / D + 1)³ of Bińkowski et al. (ICLR 2018); (N, D) and (M, D) to (N, M) float64."""
    return (x.double() @ y.double().T / x.shape[1] + 1) ** 3


def kernel_distance(xx: Tensor, yy: Tensor, xy: Tensor, weight_x: Tensor, weight_y: Tensor) -> Tensor:
    """Unbiased squared maximum mean discrepancy of weighted sets (KID with Inception features).

    With unit weights, the unbiased estimator of Bińkowski et al., "Demystifying MMD GANs" (ICLR 2018). Weights are how
    often a bootstrap resample holds an image; pairs of an image with itself never count, so resampling adds no bias.

    Args:
        xx: (N, N) kernel within the first set.
        yy: (M, M) kernel within the second set.
        xy: (N, M) kernel between them.
        weight_x: (N,) weights, at least two of them positive.
        weight_y: (M,) weights, at least two of them positive.

    Returns:
        scalar float64; may be slightly negative.
    """
    a, b = weight_x.double(), weight_y.double()
    within_x = (a @ xx @ a - (a * a * xx.diagonal()).sum()) / (a.sum() ** 2 - (a * a).sum())
    within_y = (b @ yy @ b - (b * b * yy.diagonal()).sum()) / (b.sum() ** 2 - (b * b).sum())
    return within_x + within_y - 2 * (a @ xy @ b) / (a.sum() * b.sum())


def kernel_distance_of(x: Tensor, y: Tensor) -> Tensor:
    """``kernel_distance`` of (N, D) and (M, D) features with unit weights; scalar float64."""
    _check(x, y)
    kernels = polynomial_kernel(x, x), polynomial_kernel(y, y), polynomial_kernel(x, y)
    return kernel_distance(*kernels, x.new_ones(len(x)), y.new_ones(len(y)))


def paired_kernel_distance(xx: Tensor, yy: Tensor, xy: Tensor) -> Callable[[Tensor], Tensor]:
    """``kernel_distance`` of pairs (x_i, y_i) that are resampled as pairs, for many resamples at once.

    Args:
        xx: (N, N) kernel within the first set.
        yy: (N, N) kernel within the second set.
        xy: (N, N) kernel between them.

    Returns:
        a function of (R, N) weights, one resample a row, which gives (R,) float64.
    """
    within = xx + yy
    within.fill_diagonal_(0)

    def distance(weights: Tensor) -> Tensor:
        total, squares = weights.sum(-1) ** 2, weights.square().sum(-1)
        return _quadratic(weights, within) / (total - squares) - 2 * _quadratic(weights, xy) / total

    return distance


def _quadratic(weights: Tensor, kernel: Tensor) -> Tensor:
    """(R,) w K w of each row w of (R, N) weights: one matrix product."""
    return (weights @ kernel * weights).sum(-1)


def _r_factor(rows: Tensor) -> Tensor:
    return torch.linalg.qr(rows, mode="r").R


def _check(x: Tensor, y: Tensor) -> None:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise UserError(
            f"expected two sets of at least 2 features of one size, got shapes {tuple(x.shape)} and {tuple(y.shape)}"
        )
