"""Paired permutation tests against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import permutation_test

from hspace_exp.errors import UserError
from hspace_exp.evaluation.functional.permutation import holm, paired_permutation

RNG = np.random.default_rng(0)


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_agrees_with_scipy_on_all_permutations() -> None:
    a, b = RNG.normal(0.6, 1, 12), RNG.normal(0, 1, 12)
    exact = permutation_test(
        (a, b), lambda x, y: np.mean(x) - np.mean(y), permutation_type="samples", n_resamples=np.inf
    )
    difference, p = paired_permutation(torch.mean, torch.from_numpy(a), torch.from_numpy(b), 20_000, draws())
    assert difference == pytest.approx(a.mean() - b.mean())
    assert p == pytest.approx(exact.pvalue, abs=0.01)


def test_equal_methods_give_one_and_far_ones_the_least_possible() -> None:
    a = torch.from_numpy(RNG.normal(size=40))
    assert paired_permutation(torch.mean, a, a, 50, draws()) == (0, 1)
    assert paired_permutation(torch.mean, a, a + 5, 99, draws()) == (pytest.approx(-5), pytest.approx(0.01))


def test_p_is_uniform_when_nothing_differs() -> None:
    ps = []
    for i in range(200):
        pair = torch.from_numpy(np.random.default_rng(i).normal(size=(2, 10)))
        ps.append(paired_permutation(torch.mean, pair[0], pair[1], 39, draws())[1])
    assert np.mean(np.array(ps) <= 0.25) == pytest.approx(0.25, abs=0.08)


def test_items_must_match() -> None:
    with pytest.raises(UserError, match="same items"):
        paired_permutation(torch.mean, torch.zeros(3), torch.zeros(4), 10, draws())
    with pytest.raises(UserError, match="at least 1 permutation"):
        paired_permutation(torch.mean, torch.zeros(3), torch.zeros(3), 0, draws())


def test_holm_corrects_step_by_step() -> None:
    # Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2 (not below the one before), 0.9 x 1.
    assert holm([0.03, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm([0.5, 0.6]) == [1, 1]
    assert holm([]) == []
