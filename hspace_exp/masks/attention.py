"""Heat itself as a map, by default the attribute word's cross-attention: works with any U-Net, coarse where that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.masks import Heat

# Where heat is cut, of heat in [0, 1].
Share = Annotated[float, Field(gt=0, lt=1)]


def normalise(heatmaps: Tensor) -> Tensor:
    """(B, 1, h, w) heatmaps to [0, 1], each by its own minimum and maximum, as DAAM does (Tang et al., 2023)."""
    low, high = heatmaps.amin((-2, -1), keepdim=True), heatmaps.amax((-2, -1), keepdim=True)
    flat = ~(high > low).flatten()
    if flat.any():
        which = int(flat.nonzero()[0])
        raise UserError(f"the heatmap of image {which} is flat: check that its prompt has the attribute")
    return (heatmaps - low) / (high - low)


def upsample(heatmaps: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 1, h, w) to (B, 1, H, W), bicubic and clipped to the range it had, so that peaks stay inside their cells."""
    large = F.interpolate(heatmaps, size, mode="bicubic", align_corners=False)
    return torch.clamp(large, heatmaps.amin((-2, -1), keepdim=True), heatmaps.amax((-2, -1), keepdim=True))


def normalised_heat(images: Tensor, heatmaps: Tensor | None, kind: str | None) -> Tensor:
    """Heat (B, 1, S, S) in [0, 1] at the size of its (B, S, S, 3) uint8 images, or one line on what to do without it.

    Heatmaps are (B, 1, h, w) of any scale, and of a ``kind`` that the message names.
    """
    if heatmaps is None:
        raise UserError(f"this mask provider needs {kind} heatmaps, got none: make them with masks.heat")
    height, width = images.shape[1:3]
    return normalise(upsample(heatmaps.to(images.device, torch.float32), (height, width)))


@dataclass
class AttentionMasks:
    """DAAM-style heatmaps as they are, or cut at a threshold."""

    threshold: Share | None = None  # of the normalised heat, for zeros and ones; None keeps maps soft
    heat: Heat = "attention"  # or ``difference`` for the map of DiffEdit (Couairon et al., 2022)

    def maps(self, images: Tensor, heatmaps: Tensor | None = None) -> Tensor:
        """(B, 1, S, S) in [0, 1]."""
        maps = normalised_heat(images, heatmaps, self.heat)
        return maps if self.threshold is None else (maps >= self.threshold).float()
