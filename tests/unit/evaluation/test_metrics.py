"""Metrics of single images, and what all metrics promise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.evaluation.class_metrics import (
    BiasAmplification,
    CorrectedDeviationRatio,
    DeviationRatio,
    ParityGap,
    TotalVariation,
)
from hspace_exp.evaluation.distribution_metrics import ClipMmd, FrechetDistance, KernelBased, KernelDistance
from hspace_exp.evaluation.functional.background import masked_squared_error, pasted_ssim
from hspace_exp.evaluation.functional.bootstrap import resample_blocks, resamples
from hspace_exp.evaluation.functional.distribution import CMMD_SCALE, biased_kernel_distance, kernel_distance
from hspace_exp.evaluation.image_metric import ImageMetric, item_keys
from hspace_exp.evaluation.metrics import ClipAlignment, Share, WorstGroupShare
from hspace_exp.evaluation.neighbour_metrics import (
    Coverage,
    Density,
    Neighbourhoods,
    NeighbourMean,
    Precision,
    Recall,
)
from hspace_exp.evaluation.pair_metrics import BackgroundPsnr, BackgroundSsim
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.io.seeding import generator

N, GROUPS = 24, 3
RNG = np.random.default_rng(0)
KEYS = item_keys([f"image {i}" for i in range(N)])
GROUP = torch.arange(N) % GROUPS
CLASS = torch.from_numpy(RNG.integers(0, 2, N))
IMAGES = torch.from_numpy(RNG.random((2, N, 3, 16, 16))).float()
BACKGROUND = torch.from_numpy(RNG.random((N, 1, 16, 16)) > 0.5)
FEATURES = torch.from_numpy(RNG.normal(size=(2, N, 4)))
CONFUSION = torch.tensor([[45, 5], [10, 40]])
TRUTH = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], dtype=torch.float64)

Case = tuple[Callable[[], ImageMetric], tuple[Tensor, ...]]
CASES: dict[str, Case] = {
    "share": (lambda: Share(repeats=50), (CLASS, GROUP)),
    "stratified": (lambda: Share(stratified=True, repeats=200), (CLASS, GROUP)),
    "worst": (lambda: WorstGroupShare(("a", "b", "c"), repeats=50), (CLASS, GROUP)),
    "deviation_ratio": (lambda: DeviationRatio(2, repeats=200), (CLASS, GROUP)),
    "total_variation": (lambda: TotalVariation(2, repeats=200), (CLASS, GROUP)),
    "parity_gap": (lambda: ParityGap(2, repeats=200), (CLASS, GROUP)),
    "corrected": (lambda: CorrectedDeviationRatio(CONFUSION, repeats=200), (CLASS, GROUP)),
    "bias_amplification": (lambda: BiasAmplification(TRUTH, repeats=50), (CLASS, GROUP)),
    "clip_alignment": (lambda: ClipAlignment(repeats=50), (*FEATURES, GROUP)),
    "fid": (lambda: FrechetDistance(repeats=50), (*FEATURES,)),
    "kid": (lambda: KernelDistance(repeats=50), (*FEATURES,)),
    "cmmd": (lambda: ClipMmd(repeats=50), (*FEATURES,)),
    "precision": (lambda: Precision(repeats=50), (*FEATURES,)),
    "recall": (lambda: Recall(repeats=50), (*FEATURES,)),
    "density": (lambda: Density(repeats=50), (*FEATURES,)),
    "coverage": (lambda: Coverage(repeats=50), (FEATURES[0] + 2, FEATURES[1])),
    "background_psnr": (lambda: BackgroundPsnr(repeats=50), (*masked_squared_error(*IMAGES, BACKGROUND), GROUP)),
    "background_ssim": (lambda: BackgroundSsim(repeats=50), (*pasted_ssim(*IMAGES, [BACKGROUND]), GROUP)),
}


def fill(name: str, order: Tensor, batch: int = N) -> ImageMetric:
    """A metric of the case that saw the images in ``order``, ``batch`` at once."""
    make, arguments = CASES[name]
    metric = make()
    for rows in order.split(batch):
        metric.update(KEYS[rows], *(a[rows] for a in arguments))
    return metric


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


@pytest.mark.parametrize("name", CASES)
def test_nothing_seen_is_null_with_a_note(name: str) -> None:
    result = CASES[name][0]().result()
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


@pytest.mark.parametrize(("make", "distance"), [(KernelDistance, kernel_distance), (ClipMmd, biased_kernel_distance)])
def test_kernel_distances_of_resamples_are_those_of_their_weights(
    make: type[KernelBased], distance: Callable[..., Tensor]
) -> None:
    metric = make(repeats=30)
    metric.update(KEYS, *FEATURES)
    rows, groups, strata, _ = metric._table()
    x, y = rows.chunk(2, dim=1)
    kernels = metric.kernel(x, x), metric.kernel(y, y), metric.kernel(x, y)
    scale = CMMD_SCALE if make is ClipMmd else 1
    found = metric.replicates(rows, groups, strata, generator("test"))
    for i, value in zip(resamples(strata, 30, generator("test")), found, strict=True):
        weight = torch.bincount(i, minlength=N).double()
        assert value.item() == pytest.approx(scale * distance(*kernels, weight, weight).item(), abs=1e-10)


@pytest.mark.parametrize("make", [Precision, Recall, Density, Coverage])
def test_shared_neighbourhoods_change_nothing(make: type[NeighbourMean]) -> None:
    shared = Neighbourhoods()
    other = Recall(repeats=20, neighbourhoods=shared)
    other.update(KEYS, FEATURES[1], FEATURES[0])
    other.result()
    alone, together = make(repeats=20), make(repeats=20, neighbourhoods=shared)
    for metric in (alone, together):
        metric.update(KEYS, *FEATURES)
    assert alone.result() == together.result()


def test_seed_varies_the_interval_only() -> None:
    a, b = (Share(repeats=50, seed=s) for s in (0, 1))
    for metric in (a, b):
        metric.update(KEYS, FEATURES[0, :, 0].abs().clamp(max=1))
    assert a.result().value == b.result().value
    assert a.result().ci_low != b.result().ci_low


def test_bounds_cut_the_interval_and_no_repeats_give_none() -> None:
    few = (torch.arange(N) == 0).double()
    metric = Share(repeats=30)
    metric.update(KEYS, few)
    assert metric.result().ci_low == 0
    bare = Share(repeats=0)
    bare.update(KEYS, few)
    assert (bare.result().ci_low, bare.result().ci_high) == (None, None)
    with pytest.raises(UserError, match="resamples"):
        Share(repeats=1)


def test_deviation_ratio_is_the_mean_over_groups_and_even_is_inside_its_interval() -> None:
    metric = DeviationRatio(2)
    metric.update(KEYS, torch.arange(N) // 3 % 2, GROUP)
    result = metric.result()
    assert result.value == 0
    assert result.ci_low == 0
    assert metric.group_counts() == {0: [4, 4], 1: [4, 4], 2: [4, 4]}
    one_sided = DeviationRatio(2, repeats=20)
    one_sided.update(KEYS, GROUP % 2, GROUP)
    assert one_sided.result().value == 1


def test_renumbering_groups_or_classes_changes_nothing() -> None:
    plain, renamed = DeviationRatio(2, repeats=50), DeviationRatio(2, repeats=50)
    plain.update(KEYS, CLASS, GROUP)
    renamed.update(KEYS, 1 - CLASS, (GROUP + 1) % 3 * 5)
    assert plain.result() == renamed.result()


def test_by_group_gives_each_groups_own_value() -> None:
    metric = fill("deviation_ratio", torch.arange(N))
    share = [CLASS[g == GROUP].double().mean().item() for g in range(GROUPS)]
    assert dict(metric.by_group()) == pytest.approx({g: abs(2 * s - 1) for g, s in enumerate(share)}, abs=1e-6)
    assert metric.result().value == pytest.approx(np.mean([abs(2 * s - 1) for s in share]), abs=1e-6)


def test_stratified_resampling_is_narrower_where_groups_differ() -> None:
    widths = []
    for stratified in (False, True):
        metric = Share(stratified=stratified, repeats=400)
        metric.update(KEYS, (GROUP == 0).double(), GROUP)
        result = metric.result()
        assert result.ci_low is not None
        assert result.ci_high is not None
        widths.append(result.ci_high - result.ci_low)
    assert widths[1] == 0 < widths[0]


def test_worst_group_is_named() -> None:
    metric = WorstGroupShare(("nurse", "CEO", "cook"), repeats=20)
    metric.update(KEYS, GROUP != 1, GROUP)
    assert (metric.result().value, metric.result().note) == (0, "worst: CEO")


def test_lengths_must_agree() -> None:
    with pytest.raises(UserError, match="one key, row and group an image"):
        Share().update(KEYS, CLASS[:3])


def test_keys_are_stable_and_distinct() -> None:
    assert torch.equal(item_keys(["a", "b"]), item_keys(["a", "b"]))
    assert len(item_keys([str(i) for i in range(1000)]).unique()) == 1000
