"""Metrics of edited against unedited images as two sets."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from hspace_exp.evaluation.functional.bootstrap import resample_blocks, resample_counts
from hspace_exp.evaluation.functional.distribution import paired_kernel_distance, polynomial_kernel
from hspace_exp.evaluation.judged import item_keys
from hspace_exp.evaluation.metrics import distribution
from hspace_exp.evaluation.metrics.base import Setting
from hspace_exp.evaluation.metrics.distribution import FeatureDistance, FrechetDistance, KernelDistance
from hspace_exp.io.seeding import generator

RNG = np.random.default_rng(0)
FEATURES = torch.from_numpy(RNG.normal(size=(12, 4)))


def shown(
    metric: FeatureDistance, edited: Tensor, original: Tensor, repeats: int = 30, device: str = "cpu"
) -> FeatureDistance:
    """A metric that saw these features."""
    own = metric.prepared(Setting(features="openclip", repeats=repeats, device=device))
    own.add(item_keys([str(i) for i in range(len(edited))]), torch.cat([edited, original], dim=1))
    return own


def test_distances_of_identical_sets() -> None:
    fid, kid = (shown(metric, FEATURES, FEATURES) for metric in (FrechetDistance(), KernelDistance()))
    assert (fid.result().value, fid.result().ci_low, fid.result().ci_high) == (0, 0, 0)
    assert (kid.result().value or 0) <= 0


def test_frechet_resamples_less_for_wide_features() -> None:
    wide = torch.from_numpy(RNG.normal(size=(12, 300)))
    metric = shown(FrechetDistance(), wide, wide + 0.1, 1000)
    calls: list[int] = []
    statistic = metric.statistic
    metric.statistic = lambda rows, groups: calls.append(1) or statistic(rows, groups)  # type: ignore[method-assign, func-returns-value]
    metric.result()
    assert len(calls) == 21


def test_one_image_has_no_distribution() -> None:
    result = shown(FrechetDistance(), FEATURES[:1], FEATURES[:1]).result()
    assert (result.value, result.n, result.note) == (None, 1, "needs at least 2 images")


def test_two_images_have_a_finite_kernel_distance() -> None:
    result = shown(KernelDistance(), FEATURES[:2], FEATURES[2:4], 50).result()
    json.dumps([result.value, result.ci_low, result.ci_high], allow_nan=False)


def test_kernel_distances_of_resamples_are_those_of_their_weights() -> None:
    metric = shown(KernelDistance(), FEATURES, FEATURES.flip(0).roll(1, 1))
    rows, groups, strata, _ = metric._table()
    x, y = rows.chunk(2, dim=1)
    kernels = polynomial_kernel(x, x), polynomial_kernel(y, y), polynomial_kernel(x, y)
    found = metric.replicates(rows, groups, strata, generator("test"))
    (indices,) = resample_blocks(strata, 30, generator("test"))
    for weights, value in zip(resample_counts(indices), found, strict=True):
        assert value.item() == pytest.approx(paired_kernel_distance(*kernels)(weights[None]).item(), abs=1e-10)


def test_kernel_distance_of_many_images_uses_some_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "KERNEL_IMAGES", 8)
    result = shown(KernelDistance(), FEATURES, FEATURES + 1).result()
    assert (result.note, result.n) == ("openclip features, on 8 random pairs", 8)


def test_few_images_are_said() -> None:
    note = shown(FrechetDistance(), FEATURES, FEATURES + 1).result().note
    assert note == "openclip features, 12 images bias it upwards: compare at equal N only"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_numbers_of_the_cpu() -> None:
    original = torch.from_numpy(RNG.normal(size=(300, 24)))
    edited = original + 0.5 * torch.from_numpy(RNG.normal(size=(300, 24)))
    edited[:50] = original[:50]  # images that an edit left alone are at distance 0
    for metric in (FrechetDistance(), KernelDistance()):
        cpu, gpu = (shown(metric, edited, original, 200, device) for device in ("cpu", "cuda"))
        assert gpu.result().value == pytest.approx(cpu.result().value, abs=2e-6)
        assert gpu.result().ci_low == pytest.approx(cpu.result().ci_low, abs=2e-6)  # rounded to six decimals
