"""Random compositions for the judges and SAM, disturbed as generated images are."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from avatars_world.train.data import Layers
from hspace_exp.avatars.world import SCENES


def disturb(images: torch.Tensor, *, shift: bool = True) -> torch.Tensor:
    """Blur, noise, brightness and small shifts, at random for each image; (B, 3, S, S) in [0, 1] to the same.

    ``shift=False`` leaves everything where it is, so that masks stay exact.
    """
    batch = len(images)
    random = torch.rand(5, batch, 1, 1, 1, device=images.device)
    small = F.interpolate(images, scale_factor=0.5, mode="bilinear", antialias=True)
    blurred = F.interpolate(small, size=images.shape[-2:], mode="bilinear")
    images = torch.where(random[0] < 0.4, images.lerp(blurred, random[1]), images)
    coarse = torch.randn(batch, 3, 32, 32, device=images.device)
    noise = torch.randn_like(images) * 0.5 + F.interpolate(coarse, size=images.shape[-2:], mode="bilinear")
    images = images + noise * 0.06 * random[2] + (random[3] - 0.5) * 0.08
    images = (images - 0.5) * (1 + (random[4] - 0.5) * 0.2) + 0.5
    if shift:
        dx, dy = (int(v) for v in torch.randint(-3, 4, (2,)))
        images = images.roll((dy, dx), dims=(-2, -1))
    return images.clamp(0, 1)


def draw_batch(
    layers: Layers, count: int, *, held_out: bool = False
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random compositions: images (B, 3, S, S), person indices (B,), scene classes (B,)."""
    limit, total = int(len(layers.rgba) * 0.98), len(layers.rgba)
    low, high = (limit, total) if held_out else (0, limit)
    people = torch.randint(low, high, (count,), device=layers.device)
    scenes = torch.randint(len(layers.scenes), (count,), device=layers.device)
    return layers.compose(people, scenes), people, scenes % len(SCENES)
