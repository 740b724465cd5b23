"""Total variation, parity gap, intersections."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.evaluation.functional.fairness import deviation_ratio
from hspace_exp.evaluation.functional.parity import class_shares, intersect, parity_gap, total_variation

RNG = np.random.default_rng(0)


def test_hand_worked_shares() -> None:
    counts = torch.tensor([[6, 3, 1], [0, 0, 5], [2, 2, 2]])
    assert total_variation(counts).tolist() == pytest.approx([0.6 - 1 / 3, 2 / 3, 0])
    assert parity_gap(counts).tolist() == pytest.approx([0.5, 1, 0])


def test_two_classes_are_the_deviation_ratio() -> None:
    counts = torch.from_numpy(RNG.integers(1, 30, (20, 2)))
    assert torch.allclose(parity_gap(counts), deviation_ratio(counts))
    assert torch.allclose(2 * total_variation(counts), deviation_ratio(counts))


def test_total_variation_is_the_largest_difference_of_any_set_of_classes() -> None:
    shares = RNG.dirichlet(np.ones(4), 10)
    sets = np.array([[(i >> k) & 1 for k in range(4)] for i in range(16)])
    expected = np.abs((shares - 0.25) @ sets.T).max(1)
    assert np.allclose(total_variation(torch.from_numpy(shares)).numpy(), expected)


def test_intersection_numbers_combinations_and_keeps_the_unclear_apart() -> None:
    gender, skin = torch.tensor([0, 0, 1, 1, -1]), torch.tensor([0, 3, 0, 3, 2])
    assert intersect(torch.stack([gender, skin]), (2, 4)).tolist() == [0, 3, 4, 7, -1]
    with pytest.raises(UserError, match="2 attributes, got 1"):
        intersect(gender[None], (2, 4))


def test_bad_counts_are_refused() -> None:
    with pytest.raises(UserError, match="at least 2 classes"):
        class_shares(torch.tensor([[3]]))
    with pytest.raises(UserError, match="empty group"):
        class_shares(torch.tensor([[0, 0], [1, 2]]))
