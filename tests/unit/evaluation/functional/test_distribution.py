"""Fréchet and kernel distances against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from hspace_exp.evaluation.functional.distribution import (
    frechet_distance,
    kernel_distance,
    paired_kernel_distance,
    polynomial_kernel,
)


def features(seed: int, n: int = 40, d: int = 6) -> torch.Tensor:
    """Correlated features, float64."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + seed)


def textbook_frechet(x: np.ndarray, y: np.ndarray) -> float:
    """The formula with scipy's matrix root."""
    cx, cy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(cx @ cy)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cx + cy - 2 * np.real(root)))


def test_frechet_matches_the_textbook_and_torchmetrics() -> None:
    from torchmetrics.image.fid import _compute_fid

    x, y = features(0), features(1, n=55)
    found = frechet_distance(x, y).item()
    assert found == pytest.approx(textbook_frechet(x.numpy(), y.numpy()), rel=1e-6)
    assert found == pytest.approx(_compute_fid(x.mean(0), x.T.cov(), y.mean(0), y.T.cov()).item(), rel=1e-6)


def test_frechet_and_kernel_distance_agree_with_torch_fidelity() -> None:
    fid, kid = (pytest.importorskip(f"torch_fidelity.metric_{name}") for name in ("fid", "kid"))
    x, y = features(0, n=300, d=16), features(1, n=280, d=16)
    statistics = [fid.fid_features_to_statistics(some) for some in (x, y)]
    expected = fid.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(x, y).item() == pytest.approx(expected, rel=1e-6)
    # One subset that is the whole set; torch-fidelity wants both of one size.
    options = {"kid_subsets": 1, "kid_subset_size": 280, "verbose": False, "rng_seed": 0, "cuda": False}
    expected = kid.kid_features_to_metric(x[:280].float(), y.float(), **options)["kernel_inception_distance_mean"]
    assert kernel_distance(x[:280], y).item() == pytest.approx(expected, rel=1e-4)


def test_frechet_with_fewer_images_than_dimensions() -> None:
    x, y = features(0, n=5, d=12), features(1, n=7, d=12)
    sx, sy = (scipy.linalg.sqrtm(np.cov(f.numpy(), rowvar=False) + 1e-14 * np.eye(12)) for f in (x, y))
    cross = np.linalg.svd(np.real(sx) @ np.real(sy), compute_uv=False).sum()
    gap = float((x.mean(0) - y.mean(0)).square().sum() + x.T.cov().trace() + y.T.cov().trace())
    assert frechet_distance(x, y).item() == pytest.approx(gap - 2 * cross, rel=1e-5)


def test_frechet_of_gaussians_with_known_distance() -> None:
    x = features(0)
    assert frechet_distance(x, x + 3.0).item() == pytest.approx(9 * 6)
    assert frechet_distance(x, x[torch.randperm(40)]).item() == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, features(1)) == pytest.approx(frechet_distance(features(1), x))


def test_kernel_distance_matches_torchmetrics() -> None:
    from torchmetrics.image.kid import poly_mmd

    x, y = features(0), features(1)
    assert kernel_distance(x, y).item() == pytest.approx(poly_mmd(x, y).item(), rel=1e-9)


def test_kernel_distance_weights_are_repeats_without_self_pairs() -> None:
    x, y = features(0, n=4), features(1, n=4)
    w = torch.tensor([2, 0, 1, 1])

    def within(z: torch.Tensor) -> float:
        pairs = [
            (w[i] * w[j], polynomial_kernel(z[i : i + 1], z[j : j + 1]))
            for i in range(len(z))
            for j in range(len(z))
            if i != j
        ]
        return float(sum(a * k for a, k in pairs) / sum(a for a, _ in pairs))

    between = [(w[i] * w[j] * polynomial_kernel(x[i : i + 1], y[j : j + 1])).item() for i in range(4) for j in range(4)]
    expected = within(x) + within(y) - 2 * sum(between) / (4 * 4)
    kernels = polynomial_kernel(x, x), polynomial_kernel(y, y), polynomial_kernel(x, y)
    assert paired_kernel_distance(*kernels)(w[None].double()).item() == pytest.approx(expected)
    assert paired_kernel_distance(*kernels)(torch.ones(1, 4).double()).item() == pytest.approx(
        kernel_distance(x, y).item()
    )


def test_unbiased_kernel_distance_one_distribution_is_about_zero() -> None:
    rng = np.random.default_rng(0)
    x, y = (torch.from_numpy(rng.normal(size=(300, 4))) for _ in range(2))
    far = torch.from_numpy(rng.normal(size=(300, 4)) + 1)
    assert abs(kernel_distance(x, y).item()) < 0.05
    assert kernel_distance(x, far).item() > 1


def test_two_features_a_set_are_enough() -> None:
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [4.0]])
    # k(a, b) = (ab + 1)³: 1 within x, 729 within y, and 1, 1, 27, 125 between
    assert kernel_distance(x, y).item() == pytest.approx(1 + 729 - 2 * (1 + 1 + 27 + 125) / 4)
    # Means 1/2 and 3, variances 1/2 and 2: (5/2)² + (√2 - √½)²
    assert frechet_distance(x, y).item() == pytest.approx(6.25 + 0.5)


def test_each_resample_has_its_own_distance() -> None:
    x, y = features(0, n=4), features(1, n=4)
    kernels = [polynomial_kernel(a, b) for a, b in ((x, x), (y, y), (x, y))]
    weights = torch.tensor([[2, 0, 1, 1], [1, 1, 1, 1], [1, 0, 0, 4]]).double()
    distance = paired_kernel_distance(*kernels)
    together = distance(weights)
    assert together.shape == (3,)
    for row, expected in zip(weights, together, strict=True):
        assert distance(row[None]).item() == pytest.approx(expected.item())
