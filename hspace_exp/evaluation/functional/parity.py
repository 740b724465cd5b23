"""Further ways to say how uneven a distribution over presented classes is, and classes of two attributes at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hspace_exp.errors import UserError


def total_variation(counts: Tensor) -> Tensor:
    """Total-variation distance to the even distribution: TV = ½ Σ_c |N_c / N - 1/C|.

    The share of images that would have to show another class for all classes to be even.

    Args:
        counts: (..., C) images of each class, or weights that sum to anything positive.

    Returns:
        (...) float64 in [0, 1 - 1/C]; 0 when all classes are even.
    """
    shares = class_shares(counts)
    return (shares - 1 / shares.shape[-1]).abs().sum(-1) / 2


def parity_gap(counts: Tensor) -> Tensor:
    """Difference of the largest and the smallest share: max_c N_c / N - min_c N_c / N (demographic parity).

    Args:
        counts: (..., C) images of each class, or weights that sum to anything positive.

    Returns:
        (...) float64 in [0, 1]; 0 when all classes are even. For two classes it equals the deviation ratio.
    """
    shares = class_shares(counts)
    return shares.amax(-1) - shares.amin(-1)


def class_shares(counts: Tensor) -> Tensor:
    """(..., C) counts to (..., C) float64 shares that sum to one in each row.

    Raises:
        UserError: fewer than two classes, or a row without any image.
    """
    if counts.shape[-1] < 2:
        raise UserError(f"shares of classes need at least 2 classes, got {counts.shape[-1]}")
    total = counts.sum(-1, keepdim=True).double()
    if bool((total == 0).any()):
        raise UserError("shares of classes need at least one image in each group, got an empty group")
    return counts / total


def intersect(classes: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Number combinations of classes, e.g. of gender and skin tone.

    Args:
        classes: (K, N) class of each of N images for each of K attributes.
        sizes: how many classes each attribute has.

    Returns:
        (N,) int64 in 0 … Π sizes - 1; the last attribute varies fastest. -1 where any attribute has class -1 (unclear).
    """
    if len(classes) != len(sizes) or not sizes:
        raise UserError(f"expected classes of {len(sizes)} attributes, got {len(classes)}")
    joint = torch.zeros_like(classes[0])
    for one, size in zip(classes, sizes, strict=True):
        joint = joint * size + one
    return torch.where((classes < 0).any(0), -1, joint)


def part_of(joint: Tensor, part: int, sizes: tuple[int, ...]) -> Tensor:
    """The class of one attribute in combinations that `intersect` numbered.

    Args:
        joint: (N,) int64, negative where there is none.
        part: which attribute.
        sizes: how many classes each attribute has.

    Returns:
        (N,) int64; negative where ``joint`` is.
    """
    later = math.prod(sizes[part + 1 :])
    return torch.where(joint < 0, joint, joint.div(later, rounding_mode="floor") % sizes[part])
