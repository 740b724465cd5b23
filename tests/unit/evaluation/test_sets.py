"""Distances between sets of images that are no pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.evaluation.functional.distribution import frechet_distance, kernel_distance
from hspace_exp.evaluation.score import set_distances

RNG = np.random.default_rng(0)
X, Y = torch.from_numpy(RNG.normal(size=(40, 4))), torch.from_numpy(RNG.normal(0.5, 1, size=(60, 4)))


def test_values_are_those_of_the_formulas() -> None:
    found = set_distances(X, Y, "openclip")
    assert found["fid"].value == pytest.approx(frechet_distance(X, Y).item(), abs=1e-6)
    assert found["kid"].value == pytest.approx(kernel_distance(X, Y).item(), abs=1e-6)
    assert {(metric.ci_low, metric.ci_high, metric.n) for metric in found.values()} == {(None, None, 40)}


def test_tiny_sets_have_no_value() -> None:
    with pytest.raises(UserError, match="at least 6 each, got 5"):
        set_distances(X[:5], Y, "x")
