"""Losses and weights that concept vectors are trained with: pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from hspace_exp.errors import UserError


def denoising_loss(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of W (target - prediction)^2 over each row.

    Implements the loss of SDID (Li et al., 2024) for W = 1, and L_w of Shokrolahi et al. (2026) with a spatial W.

    Args:
        prediction: (B, C, H, W) output of the U-Net.
        target: (B, C, H, W) what it should be: the noise, or v.
        weight: (B, 1, H, W) non-negative; None is 1 everywhere.

    Returns:
        (B,) losses.
    """
    squared = (target - prediction).square()
    return (squared if weight is None else weight * squared).mean((1, 2, 3))


def attribute_weight(maps: Tensor, beta: float) -> Tensor:
    """W = 1 + beta * map, in [1, 1 + beta]. Implements the weight of L_w of Shokrolahi et al. (2026).

    Args:
        maps: attribute maps in [0, 1], any shape.
        beta: at least 0; 0.4 in the paper.
    """
    if beta < 0:
        raise UserError(f"expected beta of at least 0, got {beta}")
    return 1 + beta * maps


def attenuation(maps: Tensor, sharpness: float) -> Tensor:
    """The inverted, sigmoid-modulated map m of Shokrolahi et al. (2026), scaled so that m(0) = 1 and m(1) = 0.

    m = 1 - (s(k (x - 1/2)) - s(-k/2)) / (s(k/2) - s(-k/2)), s the logistic function; the paper leaves k open.

    Args:
        maps: attribute maps in [0, 1], any shape.
        sharpness: k > 0; small values make m linear, large ones a step at 1/2.
    """
    if sharpness <= 0:
        raise UserError(f"expected a sharpness above 0, got {sharpness}")
    low, high = torch.sigmoid(torch.tensor([-sharpness / 2, sharpness / 2], dtype=maps.dtype, device=maps.device))
    return 1 - (torch.sigmoid(sharpness * (maps - 0.5)) - low) / (high - low)
