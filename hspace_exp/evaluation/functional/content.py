"""What images show beside the attribute: their texts, and what an edit left alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


def clip_alignment(image_features: Tensor, text_features: Tensor) -> Tensor:
    """100 times the cosine of each image and its own text, (N, D) features of any length; (N,) float64 in [-100, 100].

    The CLIPScore of Hessel et al. (EMNLP 2021) without its rescaling by 2.5 and without cutting negative values off.
    """
    return 100 * F.cosine_similarity(image_features.double(), text_features.double(), dim=-1)


def any_changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Tensor:
    """(N,) bool whether at least one attribute of an image changed: entanglement is the mean of this.

    Both map each attribute that should have stayed to (N,) classes; negative is unclear, which is no change.
    """
    changed = [(before[n] != after[n]) & (before[n] >= 0) & (after[n] >= 0) for n in before]
    return torch.stack(changed).any(0)
