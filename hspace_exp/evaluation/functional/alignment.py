"""How well images show what a text says."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from hspace_exp.errors import UserError


def clip_alignment(image_features: Tensor, text_features: Tensor) -> Tensor:
    """100 times the cosine between each image and its own text.

    The CLIPScore of Hessel et al. (EMNLP 2021) without its rescaling by 2.5 and without cutting negative values off.

    Args:
        image_features: (N, D), any length.
        text_features: (N, D), one row an image.

    Returns:
        (N,) float64 in [-100, 100].
    """
    if image_features.shape != text_features.shape:
        raise UserError(
            f"expected one text an image, got {tuple(image_features.shape)} and {tuple(text_features.shape)} features"
        )
    return 100 * F.cosine_similarity(image_features.double(), text_features.double(), dim=-1)
