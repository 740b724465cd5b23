"""Metrics of how even classes are: what they say beside their value, and the interval over professions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hspace_exp.evaluation.class_metrics import CorrectedDeviationRatio, DeviationRatio, ParityGap
from hspace_exp.evaluation.functional.noise_floor import deviation_ratio_floor
from hspace_exp.evaluation.image_metric import item_keys
from hspace_exp.evaluation.metrics import Share, WorstGroupShare

GROUPS, EACH = 8, 10
KEYS = item_keys([f"image {i}" for i in range(GROUPS * EACH)])
GROUP = torch.arange(GROUPS * EACH) // EACH
# The first half of the professions shows one class only, the others both alike.
CLASS = torch.where(GROUP < 4, 0, torch.arange(GROUPS * EACH) % 2)


def test_the_noise_floor_stands_beside_the_value() -> None:
    metric = DeviationRatio(2, repeats=50)
    metric.update(KEYS, CLASS, GROUP)
    assert metric.result().note == f"classes drawn evenly at random would give {deviation_ratio_floor(EACH, 2):.3f}"


def test_professions_vary_more_than_their_images() -> None:
    metric = DeviationRatio(2, repeats=400)
    metric.update(KEYS, CLASS, GROUP)
    found = metric.result()
    assert found.value == 0.5
    assert found.ci_low_professions is not None
    assert found.ci_high_professions is not None
    # The mean of 8 draws from {0, 1} alike: a binomial of standard deviation 0.177.
    assert found.ci_low_professions == pytest.approx(0.5 - 0.35, abs=0.13)
    assert found.ci_high_professions == pytest.approx(0.5 + 0.35, abs=0.13)
    renamed = DeviationRatio(2, repeats=400)
    renamed.update(KEYS, CLASS, (GROUP + 3) % GROUPS * 2)
    assert renamed.result() == found


def test_shares_have_an_interval_over_professions_and_least_values_none() -> None:
    share, worst = Share(repeats=50), WorstGroupShare(tuple("abcdefgh"), repeats=50)
    for metric in (share, worst):
        metric.update(KEYS, CLASS, GROUP)
    assert share.result().ci_low_professions is not None
    assert worst.result().ci_low_professions is None
    few = Share(repeats=50)
    few.update(KEYS, CLASS, GROUP % 4)
    assert few.result().ci_low_professions is None


def test_unclear_images_do_not_count() -> None:
    plain, blurred = ParityGap(2, repeats=50), ParityGap(2, repeats=50)
    clear = torch.arange(GROUPS * EACH) % EACH > 2
    plain.update(KEYS[clear], CLASS[clear], GROUP[clear])
    blurred.update(KEYS, torch.where(clear, CLASS, -1), GROUP)
    assert blurred.result() == plain.result()
    assert blurred.result().n == int(clear.sum())


def test_correction_recovers_the_truth_and_widens_the_interval() -> None:
    rng = np.random.default_rng(0)
    n = 4000
    truth = (rng.random(n) < 0.8).astype(int)
    judged = torch.from_numpy(np.where(rng.random(n) < 0.2, 1 - truth, truth))
    keys, group = item_keys([str(i) for i in range(n)]), torch.zeros(n, dtype=torch.int64)
    raw, corrected = (
        DeviationRatio(2, repeats=200),
        CorrectedDeviationRatio(torch.tensor([[80, 20], [20, 80]]), repeats=200),
    )
    for metric in (raw, corrected):
        metric.update(keys, judged, group)
    before, after = raw.result(), corrected.result()
    assert before.value == pytest.approx(0.36, abs=0.03)
    assert after.value == pytest.approx(0.6, abs=0.05)
    assert after.ci_low is not None
    assert after.ci_high is not None
    assert before.ci_low is not None
    assert before.ci_high is not None
    assert after.ci_high - after.ci_low > 2 * (before.ci_high - before.ci_low)
    assert after.note == "by the judge's errors on 200 images of known truth"


def test_a_judge_that_cannot_tell_gives_no_corrected_value() -> None:
    metric = CorrectedDeviationRatio(torch.tensor([[5, 5], [5, 5]]), repeats=20)
    metric.update(KEYS, CLASS, GROUP)
    found = metric.result()
    assert (found.value, found.ci_low, found.n) == (None, None, GROUPS * EACH)
    assert "cannot tell the classes apart" in found.note
