"""Class shares corrected for a judge that is known to err."""

from __future__ import annotations

import torch
from torch import Tensor

from hspace_exp.errors import UserError

CONDITION = 100.0


def confusion_matrix(truth: Tensor, judged: Tensor, num_classes: int) -> Tensor:
    """How often each true class was judged as which.

    Args:
        truth: (N,) true class, 0 … C - 1.
        judged: (N,) judged class, 0 … C - 1, or -1 for unclear.
        num_classes: C.

    Returns:
        (C, C + 1) int64: rows are true classes, columns judged ones, the last column holds the unclear.
    """
    if truth.shape != judged.shape:
        raise UserError(f"expected one judgement a label, got {tuple(judged.shape)} and {tuple(truth.shape)}")
    columns = torch.where(judged < 0, num_classes, judged)
    flat = torch.bincount(truth * (num_classes + 1) + columns, minlength=num_classes * (num_classes + 1))
    return flat.view(num_classes, num_classes + 1)


def corrected_shares(counts: Tensor, confusion: Tensor) -> Tensor | None:
    """Shares of true classes that explain what the judge saw.

    A judge with P(judged j | true i) = M_ij turns true shares p into q = Mᵀ p; this solves for p (the matrix method of
    Buonaccorsi, "Measurement Error", 2010, section 2.3, also known as adjusted count), cuts negative shares to zero
    and scales to sum one.

    Args:
        counts: (..., C) images judged as each class.
        confusion: (C, C) counts, rows are true classes; images that the judge calls unclear take no part.

    Returns:
        (..., C) float64 shares; None where M is (nearly) singular: such a judge says nothing about some class.
    """
    classes = counts.shape[-1]
    if confusion.shape != (classes, classes):
        raise UserError(f"expected a confusion matrix of {classes} x {classes}, got {tuple(confusion.shape)}")
    shares = corrected_shares_of_resamples(counts.reshape(1, -1, classes), confusion[None]).view(counts.shape)
    return None if bool(shares.isnan().any()) else shares


def corrected_shares_of_resamples(counts: Tensor, confusion: Tensor) -> Tensor:
    """``corrected_shares`` for many resamples at once.

    Args:
        counts: (R, G, C) images judged as each class.
        confusion: (R, C, C) counts.

    Returns:
        (R, G, C) float64 shares, NaN where a resample's matrix is (nearly) singular.
    """
    totals = confusion.sum(-1, keepdim=True).double()
    seen = (totals > 0).all(-2)[..., None]
    eye = torch.eye(counts.shape[-1], dtype=torch.float64, device=confusion.device)
    matrix = torch.where(seen, confusion / totals, eye)
    usable = seen & (torch.linalg.cond(matrix) <= CONDITION)[:, None, None]
    matrix = torch.where(usable, matrix, eye)
    judged = counts / counts.sum(-1, keepdim=True).double()
    shares = torch.linalg.solve(matrix.mT[:, None], judged[..., None])[..., 0].clamp(min=0)
    return torch.where(usable, shares / shares.sum(-1, keepdim=True), torch.nan)


def resampled_confusion(confusion: Tensor, generator: torch.Generator) -> Tensor:
    """A bootstrap resample of a (C, C) confusion matrix: each row is drawn anew from itself; (C, C) float64."""
    totals = confusion.sum(1)
    drawn = torch.zeros(confusion.shape, dtype=torch.float64)
    for row, total in enumerate(totals.tolist()):
        if total:
            picks = torch.multinomial(confusion[row].double(), int(total), replacement=True, generator=generator)
            drawn[row] = torch.bincount(picks, minlength=confusion.shape[1]).double()
    return drawn
