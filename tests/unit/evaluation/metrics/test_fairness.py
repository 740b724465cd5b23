"""Metrics of how even classes are: what they say beside their value, and the interval over professions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.evaluation.functional.fairness import deviation_ratio_floor
from hspace_exp.evaluation.judged import JudgedBatch, item_keys
from hspace_exp.evaluation.metrics.base import ImageMetric, Setting, Share
from hspace_exp.evaluation.metrics.fairness import (
    BiasAmplification,
    DeviationRatio,
    NormalisedEntropy,
    ParityGap,
    WorstSuccess,
)

GROUPS, EACH = 8, 10
KEYS = item_keys([f"image {i}" for i in range(GROUPS * EACH)])
GROUP = torch.arange(GROUPS * EACH) // EACH
# The first half of the professions shows one class only, the others both alike.
CLASS = torch.where(GROUP < 4, 0, torch.arange(GROUPS * EACH) % 2)


def filled(metric: ImageMetric, groups: Tensor = GROUP, repeats: int = 50) -> ImageMetric:
    """A metric that holds these images."""
    own = metric.prepared(Setting(values=("female", "male"), professions=tuple("abcdefgh"), repeats=repeats))
    own.add(KEYS, CLASS, groups)
    return own


def test_the_noise_floor_stands_beside_the_value() -> None:
    note = f"classes drawn evenly at random would give {deviation_ratio_floor(EACH, 2):.3f}"
    assert filled(DeviationRatio()).result().note == note


def test_professions_vary_more_than_their_images() -> None:
    found = filled(DeviationRatio(), repeats=400).result()
    assert found.value == 0.5
    assert found.ci_low_professions is not None
    assert found.ci_high_professions is not None
    # The mean of 8 draws from {0, 1} alike: a binomial of standard deviation 0.177.
    assert found.ci_low_professions == pytest.approx(0.5 - 0.35, abs=0.13)
    assert found.ci_high_professions == pytest.approx(0.5 + 0.35, abs=0.13)
    assert filled(DeviationRatio(), (GROUP + 3) % GROUPS * 2, repeats=400).result() == found


def test_shares_have_an_interval_over_professions_and_least_values_none() -> None:
    assert filled(Share()).result().ci_low_professions is not None
    assert filled(WorstSuccess()).result().ci_low_professions is None
    assert filled(Share(), GROUP % 4).result().ci_low_professions is None


def test_unclear_images_do_not_count(make_batch: Callable[..., JudgedBatch]) -> None:
    clear = torch.arange(GROUPS * EACH) % EACH > 2
    setting = Setting(values=("female", "male"), repeats=50)
    plain, blurred = (DeviationRatio().prepared(setting) for _ in range(2))
    plain.add(KEYS[clear], CLASS[clear], GROUP[clear])
    blurred.update(make_batch(len(KEYS), keys=KEYS, groups=GROUP, classes=torch.where(clear, CLASS, -1)))
    assert blurred.result() == plain.result()
    assert blurred.result().n == int(clear.sum())


def test_bias_needs_the_truth() -> None:
    with pytest.raises(UserError, match=r"a field .* that its `needs` do not name"):
        filled(BiasAmplification()).result()


def test_all_measures_of_evenness_are_of_one_table_and_one_bootstrap() -> None:
    kinds = DeviationRatio, ParityGap, NormalisedEntropy
    ratio, gap, entropy = (filled(kind(), repeats=200).result() for kind in kinds)
    # four professions of one class each, four that are even
    assert (ratio.value, gap.value, entropy.value) == (0.5, 0.25, 0.5)
    assert ratio.n == gap.n == entropy.n == GROUPS * EACH
    # of two classes the gap is half of the ratio in every resample, and so are the bounds but for rounding
    bounds = [ratio.ci_low, ratio.ci_high, ratio.ci_low_professions, ratio.ci_high_professions]
    halves = [gap.ci_low, gap.ci_high, gap.ci_low_professions, gap.ci_high_professions]
    assert None not in bounds
    assert halves == pytest.approx([bound / 2 for bound in bounds if bound is not None], abs=1e-6)
    assert (entropy.heading, entropy.higher_is_better, gap.note) == ("Normalised entropy", True, "")
