"""The strips of several runs in one picture: each unedited row once, and one edited row a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hspace_exp.errors import UserError
from hspace_exp.results.grid import GAP, LINE

_LABEL = 150


def stacked_strips(strips: Mapping[str, Path], width: int = 900) -> np.ndarray:
    """Stack ``strip.png`` of runs.

    Args:
        strips: label → file, all of the same professions.
        width: of the images' part, at most.

    Returns:
        (H, W, 3) uint8.

    Raises:
        UserError: the strips differ in size.
    """
    opened = {label: Image.open(path).convert("RGB") for label, path in strips.items()}
    sizes = {image.size for image in opened.values()}
    if len(sizes) > 1:
        raise UserError(f"expected strips of one size, got {sorted(sizes)}: they show other professions")
    (full, height) = sizes.pop()
    side = (height - 2 * LINE - 2 * GAP) // 2
    heads = next(iter(opened.values())).crop((0, 0, full, LINE))
    rows: list[tuple[str, Image.Image]] = []
    shown: set[bytes] = set()
    for label, image in opened.items():
        before = image.crop((0, LINE, full, LINE + side))
        after = image.crop((0, LINE + side + GAP, full, LINE + 2 * side + GAP))
        unedited = after.tobytes() == before.tobytes()
        if before.tobytes() not in shown:
            shown.add(before.tobytes())
            rows.append((label if unedited else "unedited", before))
        if not unedited:
            rows.append((label, after))
    scale = min(1.0, width / full)
    shrunk, tall = round(full * scale), round(side * scale)
    canvas = Image.new("RGB", (_LABEL + shrunk, LINE + (tall + GAP) * len(rows)), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default()
    if scale == 1.0:
        canvas.paste(heads, (_LABEL, 0))
    for i, (label, image) in enumerate(rows):
        top = LINE + i * (tall + GAP)
        canvas.paste(image.resize((shrunk, tall), Image.Resampling.LANCZOS), (_LABEL, top))
        draw.text((2, top + tall // 2 - 5), label[:26], fill="black", font=font)
    return np.asarray(canvas)
