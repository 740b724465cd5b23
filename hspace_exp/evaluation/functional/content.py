"""What images show beside the attribute: their texts, and what an edit left alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from hspace_exp.errors import UserError


def clip_alignment(image_features: Tensor, text_features: Tensor) -> Tensor:
    """100 times the cosine of each image and its own text, (N, D) features of any length; (N,) float64 in [-100, 100].

    The CLIPScore of Hessel et al. (EMNLP 2021) without its rescaling by 2.5 and without cutting negative values off.
    """
    if image_features.shape != text_features.shape:
        raise UserError(
            f"expected one text an image, got {tuple(image_features.shape)} and {tuple(text_features.shape)} features"
        )
    return 100 * F.cosine_similarity(image_features.double(), text_features.double(), dim=-1)


def any_changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Tensor:
    """(N,) bool whether at least one attribute of an image changed: entanglement is the mean of this.

    Both map each attribute that should have stayed to (N,) classes; negative is unclear, which is no change.
    """
    if not before or before.keys() != after.keys():
        raise UserError(f"expected the same attributes before and after, got {sorted(before)} and {sorted(after)}")
    changed = [(before[n] != after[n]) & (before[n] >= 0) & (after[n] >= 0) for n in before]
    return torch.stack(changed).any(0)
