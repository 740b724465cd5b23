"""Metrics of edited against unedited images as two sets."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hspace_exp.evaluation import distribution_metrics
from hspace_exp.evaluation.distribution_metrics import ClipMmd, FrechetDistance, KernelDistance
from hspace_exp.evaluation.image_metric import item_keys
from hspace_exp.evaluation.neighbour_metrics import Coverage, Density, Precision, Recall

RNG = np.random.default_rng(0)
KEYS = item_keys([str(i) for i in range(12)])
FEATURES = torch.from_numpy(RNG.normal(size=(12, 4)))
IMAGES = torch.from_numpy(RNG.random((12, 3, 16, 16))).float()
EVERYWHERE = torch.ones(12, 1, 16, 16, dtype=torch.bool)


def test_distances_of_identical_sets() -> None:
    fid, kid = FrechetDistance(repeats=30), KernelDistance(repeats=30)
    for metric in (fid, kid):
        metric.update(KEYS, FEATURES, FEATURES)
    assert (fid.result().value, fid.result().ci_low, fid.result().ci_high) == (0, 0, 0)
    assert kid.compute().item() <= 0


def test_frechet_resamples_less_for_wide_features() -> None:
    wide = torch.from_numpy(RNG.normal(size=(12, 300)))
    metric = FrechetDistance(repeats=1000)
    metric.update(KEYS, wide, wide + 0.1)
    calls: list[int] = []
    statistic = metric.statistic
    metric.statistic = lambda rows, groups: calls.append(1) or statistic(rows, groups)  # type: ignore[method-assign, func-returns-value]
    metric.result()
    assert len(calls) == 21


def test_one_image_has_no_distribution() -> None:
    metric = FrechetDistance()
    metric.update(KEYS[:1], FEATURES[:1], FEATURES[:1])
    result = metric.result()
    assert (result.value, result.n, result.note) == (None, 1, "needs at least 2 images")


def test_two_images_have_a_finite_kernel_distance() -> None:
    metric = KernelDistance(repeats=50)
    metric.update(KEYS[:2], FEATURES[:2], FEATURES[2:4])
    result = metric.result()
    json.dumps([result.value, result.ci_low, result.ci_high], allow_nan=False)


def test_kernel_distance_of_many_images_uses_some_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution_metrics, "KERNEL_IMAGES", 8)
    metric = KernelDistance(repeats=20)
    metric.update(KEYS, FEATURES, FEATURES + 1)
    assert metric.result().note == "on 8 random pairs"
    assert metric.result().n == 12


def test_identical_sets_agree_in_all_respects() -> None:
    for make, expected in ((ClipMmd, 0), (Precision, 1), (Recall, 1), (Density, 1), (Coverage, 1)):
        metric = make(repeats=30)
        metric.update(KEYS, FEATURES, FEATURES)
        assert metric.result().value == pytest.approx(expected), make


def test_distant_sets_share_nothing() -> None:
    for make in (Precision, Recall, Density, Coverage):
        metric = make(repeats=30)
        metric.update(KEYS, FEATURES + 100, FEATURES)
        found = metric.result()
        assert (found.value, found.ci_low, found.ci_high) == (0, 0, 0), make


def test_a_collapsed_set_is_precise_but_covers_little() -> None:
    features = torch.from_numpy(RNG.normal(size=(60, 4)))
    keys, collapsed = item_keys([str(i) for i in range(60)]), features[:1] + 1e-3 * features
    values = {}
    for make in (Precision, Recall, Coverage):
        metric = make(repeats=0)
        metric.update(keys, collapsed, features)
        values[make] = metric.compute().item()
    assert values[Precision] == 1
    assert values[Recall] < 0.2
    assert values[Coverage] < 0.3


def test_clip_mmd_ignores_the_length_of_features() -> None:
    plain, scaled = ClipMmd(repeats=0), ClipMmd(repeats=0)
    plain.update(KEYS, FEATURES, FEATURES.flip(0).roll(1, 1))
    scaled.update(KEYS, 7 * FEATURES, 0.1 * FEATURES.flip(0).roll(1, 1))
    assert plain.compute().item() == pytest.approx(scaled.compute().item())
    assert plain.compute().item() > 0


def test_few_images_and_neighbours_are_said() -> None:
    fid, precision = FrechetDistance(repeats=0), Precision(repeats=0)
    for metric in (fid, precision):
        metric.update(KEYS, FEATURES, FEATURES + 1)
    assert fid.result().note == "12 images bias it upwards: compare at equal N only"
    assert precision.result().note == "3 nearest neighbours"
