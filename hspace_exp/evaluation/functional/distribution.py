"""Distances between sets of images, from features of any extractor."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def frechet_distance(x: Tensor, y: Tensor) -> Tensor:
    """Fréchet distance between Gaussians fitted to two sets of features (FID with Inception features).

    Implements |μ_x - μ_y|² + tr(Σ_x + Σ_y - 2 (Σ_x Σ_y)^½) of Heusel et al. (NeurIPS 2017), eq. (6), with unbiased
    covariances. With Σ = AᵀA for centred features A, the trace of the root is the sum of the singular values of
    A_x A_yᵀ; a QR decomposition makes that matrix at most D x D. No root of a singular matrix is taken, so fewer
    images than dimensions are exact as well. (Few images bias the distance upwards all the same: state N.) Features
    are (N, D) and (M, D), N and M >= 2; scalar float64 >= 0, 0 for equal sets.
    """
    x, y = x.double(), y.double()
    mean_x, mean_y = x.mean(0), y.mean(0)
    root_x = torch.linalg.qr((x - mean_x) / (len(x) - 1) ** 0.5, mode="r").R
    root_y = torch.linalg.qr((y - mean_y) / (len(y) - 1) ** 0.5, mode="r").R
    cross = torch.linalg.svdvals(root_x @ root_y.T).sum()
    distance = (mean_x - mean_y).square().sum() + root_x.square().sum() + root_y.square().sum() - 2 * cross
    return distance.clamp(min=0)


def polynomial_kernel(x: Tensor, y: Tensor) -> Tensor:
    """k(a, b) = (aᵀb / D + 1)³ of Bińkowski et al. (ICLR 2018); (N, D) and (M, D) to (N, M) float64."""
    return (x.double() @ y.double().T / x.shape[1] + 1) ** 3


def kernel_distance(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased squared maximum mean discrepancy of (N, D) and (M, D) features (KID with Inception features).

    The estimator of Bińkowski et al., "Demystifying MMD GANs" (ICLR 2018): an image and itself are no pair. Scalar
    float64, which may be slightly negative.
    """

    def within(z: Tensor) -> Tensor:
        kernel = polynomial_kernel(z, z)
        return (kernel.sum() - kernel.trace()) / (len(z) * (len(z) - 1))

    return within(x) + within(y) - 2 * polynomial_kernel(x, y).mean()


def paired_kernel_distance(xx: Tensor, yy: Tensor, xy: Tensor) -> Callable[[Tensor], Tensor]:
    """``kernel_distance`` of pairs (x_i, y_i) that are resampled as pairs, for many resamples at once.

    Weights are how often a resample holds an image. An image and its copies are no pair, so resampling adds no bias.
    Kernels are (N, N), within either set and between them. Gives a function of (R, N) weights, one resample a row, to
    (R,) float64.
    """
    within = xx + yy
    within.fill_diagonal_(0)

    def products(weights: Tensor, kernel: Tensor) -> Tensor:
        return (weights @ kernel * weights).sum(-1)

    def distance(weights: Tensor) -> Tensor:
        total, squares = weights.sum(-1) ** 2, weights.square().sum(-1)
        return products(weights, within) / (total - squares) - 2 * products(weights, xy) / total

    return distance
