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


def test_values_are_those_of_the_formulas_and_lie_in_their_intervals() -> None:
    found = set_distances(X, Y, "openclip")
    assert found["fid"].value == pytest.approx(frechet_distance(X, Y).item(), abs=1e-6)
    assert found["kid"].value == pytest.approx(kernel_distance(X, Y).item(), abs=1e-6)
    for metric in found.values():
        assert metric.value is not None
        assert metric.ci_low is not None
        assert metric.ci_high is not None
        assert metric.ci_low <= metric.value <= metric.ci_high
        assert metric.n == 40
    assert set_distances(X, Y, "openclip") == found


def test_the_spread_of_halves_is_that_of_the_whole() -> None:
    repeated = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        pair = (torch.from_numpy(rng.normal(size=(80, 1))), torch.from_numpy(rng.normal(1, 1, size=(80, 1))))
        metric = set_distances(*pair, "x", seed=seed)["fid"]
        assert metric.value is not None
        assert metric.ci_high is not None
        repeated.append((metric.value, (metric.ci_high - metric.value) / 1.96))
    values, spreads = np.array(repeated).T
    assert np.median(spreads) == pytest.approx(values.std(), rel=0.35)


def test_small_sets_have_no_interval_and_tiny_ones_no_value() -> None:
    assert set_distances(X[:8], Y, "x")["fid"].ci_low is None
    with pytest.raises(UserError, match="at least 6 each, got 5"):
        set_distances(X[:5], Y, "x")
