"""Resampling and intervals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from hspace_exp.evaluation.functional import bootstrap
from hspace_exp.evaluation.functional.bootstrap import (
    group_bootstrap,
    interval,
    resample_blocks,
    resample_counts,
)
from hspace_exp.io.seeding import generator


def test_resamples_stay_within_their_stratum() -> None:
    strata = torch.tensor([0, 0, 0, 4, 4, 7])
    (seen,) = resample_blocks(strata, 200, generator("test"))
    for indices in seen:
        assert torch.equal(strata[indices], strata)
    assert [len(seen[:, i].unique()) for i in range(6)] == [3, 3, 3, 2, 2, 1]


def test_blocks_hold_the_draws_of_single_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    strata = torch.tensor([0, 0, 0, 4, 4, 7])
    random = generator("test")
    expected = []
    for _ in range(50):
        draw = torch.rand(6, generator=random, dtype=torch.float64)
        expected.append([int(3 * draw[k]) for k in range(3)] + [3 + int(2 * draw[k]) for k in (3, 4)] + [5])
    for at_once in (1, 7, 50):
        monkeypatch.setattr(bootstrap, "BLOCK", at_once * len(strata))
        blocks = list(resample_blocks(strata, 50, generator("test")))
        assert torch.cat(blocks).tolist() == expected


def test_blocks_gather_as_many_numbers_as_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "BLOCK", 4)
    for images, sizes in ((6, [1] * 5), (2, [2, 2, 1]), (1, [4, 1])):
        blocks = resample_blocks(torch.zeros(images, dtype=torch.int64), 5, generator("test"))
        assert [len(block) for block in blocks] == sizes


def test_counts_say_how_often_an_image_was_drawn() -> None:
    indices = next(resample_blocks(torch.zeros(9, dtype=torch.int64), 5, generator("test")))
    expected = np.stack([np.bincount(row, minlength=9) for row in indices.numpy()])
    assert np.array_equal(resample_counts(indices).numpy(), expected)
    assert resample_counts(indices).dtype == torch.float64


def test_interval_of_a_mean_matches_scipy() -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(size=200))
    blocks = resample_blocks(torch.zeros(200, dtype=torch.int64), 2000, generator("test"))
    replicates = torch.cat([values[indices].mean(1) for indices in blocks])
    low, high = interval(float(values.mean()), replicates)
    expected = scipy.stats.bootstrap((values.numpy(),), np.mean, method="percentile", rng=0).confidence_interval
    assert low == pytest.approx(expected.low, abs=0.01)
    assert high == pytest.approx(expected.high, abs=0.01)


def test_coverage_of_a_mean() -> None:
    rng, hits, strata = np.random.default_rng(1), 0, torch.zeros(60, dtype=torch.int64)
    for trial in range(200):
        values = torch.from_numpy(rng.normal(size=60))
        replicates = torch.cat([values[i].mean(1) for i in resample_blocks(strata, 150, generator(trial))])
        low, high = interval(float(values.mean()), replicates)
        hits += low <= 0 <= high
    assert 0.89 <= hits / 200 <= 0.99


def test_shift_keeps_the_value_inside_although_replicates_are_biased() -> None:
    replicates = torch.linspace(0.1, 0.3, 101)
    low, high = interval(0.0, replicates)
    assert low == pytest.approx(-0.095)
    assert high == pytest.approx(0.095)


def test_few_replicates_give_the_normal_interval() -> None:
    assert interval(2.0, torch.tensor([1.0, 2.0, 3.0])) == pytest.approx((2 - 1.959964, 2 + 1.959964))
    assert interval(5.0, torch.tensor([3.0, 5.0, 7.0])) == pytest.approx((5 - 2 * 1.959964, 5 + 2 * 1.959964))
    uniform = torch.arange(100.0)  # enough for percentiles: 2.5 % of 99 steps
    assert interval(49.5, uniform) == pytest.approx((2.475, 96.525))
    assert interval(49.5, uniform[:-1])[0] < 0


def test_groups_are_drawn_whole() -> None:
    values, weights = torch.tensor([0.1, 0.4, 0.9, 0.2]), torch.tensor([3, 1, 2, 4])
    found = group_bootstrap(values, weights, 4000, torch.Generator().manual_seed(0)).numpy()
    rng = np.random.default_rng(0)
    picks = rng.integers(0, 4, (4000, 4))
    v, w = values.double().numpy()[picks], weights.numpy()[picks]
    expected = (v * w).sum(1) / w.sum(1)
    assert found.mean() == pytest.approx(expected.mean(), abs=0.01)
    assert found.std() == pytest.approx(expected.std(), rel=0.05)
    assert found.min() >= 0.1 - 1e-6
    draws = (4 * torch.rand(4000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).long().numpy()
    by_hand = (values.double().numpy()[draws] * weights.numpy()[draws]).sum(1) / weights.numpy()[draws].sum(1)
    np.testing.assert_allclose(found, by_hand)
