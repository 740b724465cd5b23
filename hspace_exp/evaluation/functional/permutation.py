"""Whether two methods differ on the same images by more than chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hspace_exp.errors import UserError


def paired_permutation(
    statistic: Callable[[Tensor], Tensor], a: Tensor, b: Tensor, repeats: int, generator: torch.Generator
) -> tuple[float, float]:
    """Paired permutation test of statistic(a) - statistic(b).

    If both methods were the same, it would not matter which of them a result came from: each item's pair of results is
    swapped with probability ½ (Good, "Permutation, Parametric and Bootstrap Tests", 2005, chapter 3). With the observed
    arrangement counted in (Phipson & Smyth, 2010), p is never zero and the test is exact.

    Args:
        statistic: of (N, …) results of all items.
        a: (N, …) results of one method.
        b: (N, …) results of the other, items in the same order.
        repeats: swaps drawn.
        generator: CPU generator.

    Returns:
        the observed difference, and the two-sided p.
    """
    if a.shape != b.shape or not len(a):
        raise UserError(f"expected results of the same items, got shapes {tuple(a.shape)} and {tuple(b.shape)}")
    if repeats < 1:
        raise UserError(f"expected at least 1 permutation, got {repeats}")
    observed = float(statistic(a) - statistic(b))
    shape = (len(a), *[1] * (a.ndim - 1))
    extreme = 0
    for _ in range(repeats):
        swap = (torch.rand(len(a), generator=generator) < 0.5).view(shape)
        difference = float(statistic(torch.where(swap, b, a)) - statistic(torch.where(swap, a, b)))
        extreme += abs(difference) >= abs(observed) - 1e-12
    return observed, (extreme + 1) / (repeats + 1)


def holm(ps: Sequence[float]) -> list[float]:
    """P-values of several tests at once, corrected by Holm's step-down method (1979); in the order given."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    corrected, least = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[i] = least
    return corrected
