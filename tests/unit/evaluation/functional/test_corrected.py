"""Shares of classes corrected for an erring judge."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.evaluation.functional.corrected import (
    confusion_matrix,
    corrected_shares,
    corrected_shares_of_resamples,
    resampled_confusion,
)
from hspace_exp.evaluation.functional.fairness import deviation_ratio


def test_confusion_counts_the_unclear_apart() -> None:
    truth, judged = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 1, -1, 1, 1])
    assert confusion_matrix(truth, judged, 2).tolist() == [[1, 1, 1], [0, 2, 0]]
    with pytest.raises(UserError, match="one judgement a label"):
        confusion_matrix(truth, judged[:2], 2)


def test_hand_worked_case() -> None:
    # 90 % of women and 80 % of men are recognised. Of 60 women and 40 men, 54 + 8 = 62 are judged women.
    confusion = torch.tensor([[90, 10], [20, 80]])
    shares = corrected_shares(torch.tensor([62, 38]), confusion)
    assert shares is not None
    assert shares.tolist() == pytest.approx([0.6, 0.4])


def test_shares_below_zero_are_cut() -> None:
    # Fewer judged men than the judge's errors on women alone would give.
    shares = corrected_shares(torch.tensor([[95, 5], [50, 50]]), torch.tensor([[9, 1], [2, 8]]))
    assert shares is not None
    assert shares[0].tolist() == [1, 0]
    assert shares[1].tolist() == pytest.approx([3 / 7, 4 / 7])


def test_a_perfect_judge_needs_no_correction() -> None:
    counts = torch.tensor([[3, 4, 9], [1, 1, 1]])
    shares = corrected_shares(counts, 7 * torch.eye(3))
    assert shares is not None
    assert torch.allclose(shares, counts / counts.sum(1, keepdim=True).double())


def test_resamples_at_once_are_corrected_as_alone() -> None:
    rng = np.random.default_rng(0)
    counts = torch.from_numpy(rng.integers(1, 20, (6, 4, 3)))
    confusions = torch.from_numpy(rng.integers(0, 30, (6, 3, 3)).astype(float)) + 40 * torch.eye(3)
    confusions[2], confusions[4, 1] = 5, 0  # a blind judge, and one that was never shown a class
    found = corrected_shares_of_resamples(counts, confusions.double())
    for together, some, confusion in zip(found, counts, confusions, strict=True):
        alone = corrected_shares(some, confusion)
        assert together.isnan().all() if alone is None else torch.allclose(together, alone, rtol=1e-12)
    assert [bool(one.isnan().any()) for one in found] == [False, False, True, False, True, False]


def test_correction_undoes_errors_in_simulation() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 60_000, p=[0.7, 0.2, 0.1])
    errors = np.array([[0.8, 0.15, 0.05], [0.1, 0.85, 0.05], [0.2, 0.1, 0.7]])
    judged = np.array([rng.choice(3, p=errors[t]) for t in truth[:6000]])
    counts = torch.from_numpy(np.bincount(judged, minlength=3))
    shares = corrected_shares(counts, torch.from_numpy(errors * 1000))
    assert shares is not None
    assert deviation_ratio(shares).item() == pytest.approx((0.7 - 1 / 3) / (2 / 3), abs=0.03)
    assert abs(deviation_ratio(counts).item() - 0.55) > 0.08


def test_a_blind_judge_gives_nothing() -> None:
    assert corrected_shares(torch.tensor([5, 5]), torch.tensor([[5, 5], [5, 5]])) is None
    assert corrected_shares(torch.tensor([5, 5]), torch.tensor([[5, 5], [0, 0]])) is None
    with pytest.raises(UserError, match="confusion matrix of 2 x 2"):
        corrected_shares(torch.tensor([5, 5]), torch.eye(3))


def test_resampling_keeps_rows_and_means() -> None:
    confusion = torch.tensor([[30, 10], [0, 20], [0, 0]])
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([resampled_confusion(confusion, generator) for _ in range(300)])
    assert torch.equal(drawn.sum(2), confusion.sum(1).double().expand(300, -1))
    assert drawn[:, 0, 0].mean().item() == pytest.approx(30, abs=0.6)
    assert drawn[:, 0, 0].std().item() == pytest.approx((40 * 0.75 * 0.25) ** 0.5, abs=0.4)
