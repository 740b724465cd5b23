"""A contact sheet of attribute maps over their images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

COLOUR = (255, 0, 160)  # seldom in photographs, hair or skin
_GAP, _LINE, _COLUMNS = 4, 14, 6


def overlay(image: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """(S, S, 3) uint8: the image greyed, with a (S, S) map in [0, 1] in ``COLOUR`` over it and its border drawn."""
    grey = image.astype(np.float32).mean(-1, keepdims=True) * 0.6 + 80
    mixed = grey + 0.6 * plane[..., None] * (np.array(COLOUR, np.float32) - grey)
    inside = np.pad(plane >= 0.5, 1, mode="edge")
    around = inside[1:-1, :-2] & inside[1:-1, 2:] & inside[:-2, 1:-1] & inside[2:, 1:-1]
    mixed[inside[1:-1, 1:-1] & ~around] = COLOUR
    return mixed.round().clip(0, 255).astype(np.uint8)


def mask_sheet(images: Tensor, maps: Tensor, names: Sequence[str], *, each: int = 24, side: int = 160) -> np.ndarray:
    """Tiles of image and map, the concepts one after another, each with a heading; (H, W, 3) uint8.

    Of (N, S, S, 3) uint8 images, their (N, 1, S, S) maps, in [0, 1] or uint8 0 … 255, and the name of each one's
    concept. The first ``each`` of a concept are shown; larger images are scaled down to ``side`` pixels.
    """
    planes = (maps.float() / 255 if maps.dtype == torch.uint8 else maps.float())[:, 0].cpu().numpy()
    groups = {name: [i for i, other in enumerate(names) if other == name][:each] for name in dict.fromkeys(names)}
    side = min(side, images.shape[1])
    tile, columns = 2 * side + 2 * _GAP, min(_COLUMNS, max(map(len, groups.values())))
    rows = {name: -(-len(members) // columns) for name, members in groups.items()}
    height = sum(_LINE + count * (side + _GAP) for count in rows.values()) + _GAP
    canvas = Image.new("RGB", (columns * tile + _GAP, height), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default()
    top = 0
    for name, members in groups.items():
        draw.text((_GAP, top + 1), f"{name}: image | map", fill="black", font=font)
        top += _LINE
        for place, i in enumerate(members):
            image = images[i].cpu().numpy()
            left, upper = _GAP + place % columns * tile, top + place // columns * (side + _GAP)
            for shift, picture in enumerate((image, overlay(image, planes[i]))):
                shown = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
                canvas.paste(shown, (left + shift * (side + 1), upper))
        top += rows[name] * (side + _GAP)
    return np.asarray(canvas)
