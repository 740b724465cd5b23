"""What all metrics promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.evaluation.functional.bootstrap import resample_blocks
from hspace_exp.evaluation.judged import JudgedBatch, item_keys
from hspace_exp.evaluation.metrics.background import BackgroundPsnr, BackgroundSsim
from hspace_exp.evaluation.metrics.base import ImageMetric, Setting, Share
from hspace_exp.evaluation.metrics.content import ClipAlignment, Entanglement, SceneKept
from hspace_exp.evaluation.metrics.distribution import FrechetDistance, KernelDistance
from hspace_exp.evaluation.metrics.fairness import (
    BiasAmplification,
    DeviationRatio,
    Flipped,
    Success,
    Unclear,
    WorstSuccess,
)
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.io.seeding import generator

N, GROUPS = 24, 3
RNG = np.random.default_rng(0)
KEYS = item_keys([f"image {i}" for i in range(N)])
GROUP = torch.arange(N) % GROUPS
CLASS = torch.from_numpy(RNG.integers(0, 2, N))
IMAGES = torch.from_numpy(RNG.random((2, N, 3, 16, 16))).float()
FEATURES = torch.from_numpy(RNG.normal(size=(2, N, 4)))
SETTING = Setting(
    values=("female", "male"),
    professions=("a", "b", "c"),
    truth=torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], dtype=torch.float64),
    features="openclip",
    repeats=200,
)
SCENES = torch.from_numpy(RNG.integers(0, 2, (2, N)))
FIELDS: Mapping[str, Any] = {
    "keys": KEYS,
    "groups": GROUP,
    "targets": torch.from_numpy(RNG.integers(0, 2, N)),
    "original": IMAGES[0],
    "edited": IMAGES[1],
    "background": torch.from_numpy(RNG.random((N, 1, 16, 16)) > 0.5),
    "image": FEATURES[0],
    "prompt": FEATURES[1],
    "subject": FEATURES[1],
    "features_edited": FEATURES[0],
    "features_original": FEATURES[1],
}
EVERY = (
    *(DeviationRatio, Success, WorstSuccess, BiasAmplification, ClipAlignment, SceneKept, Entanglement),
    *(FrechetDistance, KernelDistance, BackgroundPsnr, BackgroundSsim),
)
CASES = {metric.__name__: metric for metric in EVERY}


def batch(rows: Tensor) -> JudgedBatch:
    """The images in ``rows``."""
    before, after = ({"gender": CLASS[rows], "scene": SCENES[i][rows]} for i in range(2))
    fields = {name: value[rows] for name, value in FIELDS.items()}
    return JudgedBatch(attribute="gender", parts={}, others=("scene",), before=before, after=after, **fields)


def fill(name: str, order: Tensor, size: int = N) -> ImageMetric:
    """A metric that saw the images in ``order``, ``size`` at once."""
    metric = CASES[name]().prepared(SETTING)
    for rows in order.split(size):
        metric.update(batch(rows))
    return metric


def filled(metric: ImageMetric, values: Tensor, groups: Tensor | None = None, **setting: Any) -> ImageMetric:
    """A metric that holds these numbers."""
    own = metric.prepared(Setting(values=("female", "male"), **setting))
    own.add(KEYS, values, groups)
    return own


@pytest.mark.parametrize("name", CASES)
def test_order_batches_and_repeated_images_change_nothing(name: str) -> None:
    expected = fill(name, torch.arange(N)).result()
    shuffled = torch.from_numpy(np.random.default_rng(1).permutation(N))
    assert fill(name, shuffled, 5).result() == expected
    assert fill(name, torch.cat([shuffled, shuffled[:7]]), 6).result() == expected


@pytest.mark.parametrize("name", CASES)
def test_result_holds_value_interval_and_n(name: str) -> None:
    metric = fill(name, torch.arange(N))
    result = metric.result()
    assert isinstance(result, MetricValue)
    assert result.n == N
    assert result.value == pytest.approx(metric.compute().item(), abs=1e-6)
    assert result.value is not None
    assert result.ci_low is not None
    assert result.ci_high is not None
    assert result.ci_low <= result.value <= result.ci_high
    assert result.ci_low < result.ci_high
    assert result.higher_is_better is not None
    assert result.heading


@pytest.mark.parametrize("name", CASES)
def test_nothing_seen_is_null_with_a_note(name: str) -> None:
    result = CASES[name]().result()
    assert (result.value, result.ci_low, result.ci_high, result.n) == (None, None, None, 0)
    assert result.note


@pytest.mark.parametrize("name", CASES)
def test_reset_forgets(name: str) -> None:
    metric = fill(name, torch.arange(N))
    metric.reset()
    assert metric.result().n == 0


@pytest.mark.parametrize("name", CASES)
def test_many_resamples_at_once_give_what_each_gives_alone(name: str) -> None:
    metric = fill(name, torch.arange(N))
    rows, groups, strata, _ = metric._table()
    (indices,) = resample_blocks(strata, 40, generator("test"))
    alone = torch.stack([metric.statistic(rows[i], groups[i]) for i in indices])
    together = metric.statistics(rows, groups, indices)
    assert torch.allclose(together, alone, rtol=1e-12, atol=1e-12)


def test_seed_varies_the_interval_only() -> None:
    values = FEATURES[0, :, 0].abs().clamp(max=1)
    a, b = (filled(Share(), values, repeats=50, seed=seed).result() for seed in (0, 1))
    assert a.value == b.value
    assert a.ci_low != b.ci_low


def test_bounds_cut_the_interval_and_no_repeats_give_none() -> None:
    few = (torch.arange(N) == 0).double()
    assert filled(Share(), few, repeats=30).result().ci_low == 0
    bare = filled(Share(), few, repeats=0).result()
    assert (bare.ci_low, bare.ci_high) == (None, None)
    with pytest.raises(UserError, match="resamples"):
        Setting(repeats=1)


def test_deviation_ratio_is_the_mean_over_groups_and_even_is_inside_its_interval() -> None:
    result = filled(DeviationRatio(), torch.arange(N) // 3 % 2, GROUP).result()
    assert result.value == 0
    assert result.ci_low == 0
    assert filled(DeviationRatio(), GROUP % 2, GROUP, repeats=20).result().value == 1


def test_renumbering_groups_or_classes_changes_nothing() -> None:
    plain = filled(DeviationRatio(), CLASS, GROUP, repeats=50)
    renamed = filled(DeviationRatio(), 1 - CLASS, (GROUP + 1) % 3 * 5, repeats=50)
    assert plain.result() == renamed.result()


def test_by_group_gives_each_groups_own_value() -> None:
    metric = fill("DeviationRatio", torch.arange(N))
    share = [CLASS[g == GROUP].double().mean().item() for g in range(GROUPS)]
    assert dict(metric.by_group()) == pytest.approx({g: abs(2 * s - 1) for g, s in enumerate(share)}, abs=1e-6)
    assert metric.result().value == pytest.approx(np.mean([abs(2 * s - 1) for s in share]), abs=1e-6)


def test_stratified_resampling_is_narrower_where_groups_differ() -> None:
    widths = []
    for metric in (Share(), Success()):
        result = filled(metric, (GROUP == 0).double(), GROUP, repeats=400).result()
        assert result.ci_low is not None
        assert result.ci_high is not None
        widths.append(result.ci_high - result.ci_low)
    assert widths[1] == 0 < widths[0]


def test_worst_group_is_named() -> None:
    found = filled(WorstSuccess(), GROUP != 1, GROUP, professions=("nurse", "CEO", "cook"), repeats=20).result()
    assert (found.value, found.note) == (0, "worst: CEO")


def test_rows_that_are_no_numbers_do_not_count() -> None:
    some = torch.where(GROUP == 0, torch.nan, 1.0)
    assert filled(Share(), some, repeats=20).result().n == N - N // GROUPS


def test_keys_are_stable_and_distinct() -> None:
    assert torch.equal(item_keys(["a", "b"]), item_keys(["a", "b"]))
    assert len(item_keys([str(i) for i in range(1000)]).unique()) == 1000


def test_what_is_prepared_is_a_copy() -> None:
    first = fill("Success", torch.arange(N))
    empty = first.prepared(SETTING)
    assert (first.result().n, empty.result().n) == (N, 0)


@pytest.mark.parametrize(
    ("make", "observed"),
    [
        (Success, [1, 0, 0, None]),
        (Flipped, [None, 0, None, None]),
        (Unclear, [0, 0, 1, 0]),
        (DeviationRatio, [1, 0, None, 1]),
    ],
)
def test_which_images_count(
    make: Callable[[], ImageMetric], observed: list[float | None], make_batch: Callable[..., JudgedBatch]
) -> None:
    after, before = {"gender": torch.tensor([1, 0, -1, 1])}, {"gender": torch.tensor([1, 0, -1, 1])}
    targets = torch.tensor([1, 1, 0, -1])
    found = make().observe(make_batch(4, before=before, after=after, targets=targets))
    assert found is not None
    assert [None if value.isnan() else float(value) for value in found.double()] == observed
