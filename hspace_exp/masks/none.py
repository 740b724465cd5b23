"""No attribute map: the ablation."""

from __future__ import annotations

import torch
from torch import Tensor


class NoMasks:
    """Maps of zeros, so that W = 1, m = 1 and chi = 1 everywhere: the plain loss on the plain model."""

    heat = None

    def maps(self, images: Tensor, heatmaps: Tensor | None = None) -> Tensor:
        """(B, 1, S, S) zeros."""
        return torch.zeros(images.shape[0], 1, *images.shape[1:3], device=images.device)
