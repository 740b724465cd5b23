"""Bringing attribute maps to other resolutions."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def max_pool_map(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 1, H, W) maps at another resolution by max-pooling, since area averaging erases thin parts such as hair.

    Where the target is larger, values are repeated. Max-pooling commutes with monotone functions of the map.
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.adaptive_max_pool2d(maps, size)
