"""Attribute maps: where in an image an attribute is, one provider a file.

A provider is any object with the three members of ``MaskProvider``. A map says where an image presents an attribute
(for gender: hair and facial hair); it says nothing about the people shown.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from hspace_exp.errors import UserError, unknown


class MaskProvider(Protocol):
    """Makes attribute maps of images; says beforehand what it needs for that.

    Attributes:
        heat: ``attention`` or ``difference`` (see ``masks.heat``); None where no heat is needed.
        needs_exact: whether only true masks will do.
    """

    heat: str | None
    needs_exact: bool

    def maps(self, images: Tensor, heatmaps: Tensor | None = None, exact: Tensor | None = None) -> Tensor:
        """Attribute maps of a batch.

        Args:
            images: (B, S, S, 3) uint8.
            heatmaps: (B, 1, h, w) of the kind ``heat``, any scale.
            exact: (B, 1, S, S) or (B, S, S) true masks, where the images were rendered.

        Returns:
            (B, 1, S, S) float32 in [0, 1], on the images' device.
        """


HEATS = ("attention", "difference")


def check_heat(heat: str) -> str:
    """``heat``, if there is such a kind."""
    if heat not in HEATS:
        raise unknown("kind of heat", heat, HEATS)
    return heat


def check_images(images: Tensor) -> None:
    """Refuse anything but a uint8 (B, S, S, 3) batch."""
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != torch.uint8:
        raise UserError(f"expected uint8 images of shape (B, S, S, 3), got {images.dtype} {tuple(images.shape)}")


def require(value: Tensor | None, images: Tensor, what: str, instead: str) -> Tensor:
    """The maps that a provider needs, or one line saying what to do without them."""
    if value is None:
        raise UserError(f"this mask provider needs {what}, got none: {instead}")
    value = value[:, None] if value.ndim == 3 else value
    if value.ndim != 4 or value.shape[:2] != (images.shape[0], 1):
        raise UserError(f"expected {what} of shape ({images.shape[0]}, 1, h, w), got {tuple(value.shape)}")
    return value.to(images.device, torch.float32)
