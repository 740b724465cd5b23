"""Precision, recall, density and coverage against torch-fidelity and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from hspace_exp.errors import UserError
from hspace_exp.evaluation.functional.manifold import covered, density, inside, neighbour_radii

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(size=(60, 3)), RNG.normal(0.7, 0.8, size=(45, 3))
X, Y = torch.from_numpy(FAKE), torch.from_numpy(REAL)


def test_precision_and_recall_agree_with_torch_fidelity() -> None:
    prc = pytest.importorskip("torch_fidelity.metric_prc")
    precision, recall = prc.calculate_precision_recall_full(X, Y, 3)
    assert inside(X, Y, 3).double().mean().item() == pytest.approx(precision)
    assert inside(Y, X, 3).double().mean().item() == pytest.approx(recall)


def test_density_and_coverage_agree_with_a_tree() -> None:
    tree = cKDTree(REAL)
    radii = tree.query(REAL, k=6)[0][:, -1]
    assert np.allclose(neighbour_radii(Y, 5).numpy(), radii)
    hits = np.array([[np.linalg.norm(f - r) < radius for r, radius in zip(REAL, radii, strict=True)] for f in FAKE])
    assert np.allclose(density(X, Y, 5).numpy(), hits.sum(1) / 5)
    assert covered(X, Y, 5).tolist() == hits.any(0).tolist()


def test_one_distribution_has_density_and_coverage_near_one() -> None:
    a, b = (torch.from_numpy(RNG.normal(size=(800, 4))) for _ in range(2))
    assert density(a, b).mean().item() == pytest.approx(1, abs=0.05)
    # Naeem et al., eq. (9): with N = M, expected coverage is about 1 - 1 / 2^k.
    assert covered(a, b).double().mean().item() == pytest.approx(1 - 0.5**5, abs=0.03)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(UserError, match="3 nearest neighbours need at least 4 images, got 3"):
        inside(X, Y[:3], 3)
