"""Pictures of a run: what was, and what the edit made of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hspace_exp.generation.manifest import Pair
from hspace_exp.io.images import load_images

GAP, LINE = 4, 16


def pair_grid(pairs: Sequence[Pair], *, professions: int = 6, seeds: int = 4) -> np.ndarray:
    """Rows are seeds; columns are professions, each original | edited, with the concept asked for above the edited.

    Args:
        pairs: of a run.
        professions: shown at most, spread evenly over those there are.
        seeds: shown at most.

    Returns:
        (H, W, 3) uint8.
    """
    names = _spread(list(dict.fromkeys(pair.profession for pair in pairs)), professions)
    indices = sorted({pair.seed_index for pair in pairs})[:seeds]
    shown = {(pair.profession, pair.seed_index): pair for pair in pairs}
    side = load_images([pairs[0].original]).shape[1]
    columns, rows = 2 * len(names), len(indices)
    width, height = columns * (side + GAP) + GAP, LINE + rows * (side + LINE + GAP) + GAP
    canvas = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default()
    for c, name in enumerate(names):
        left = GAP + 2 * c * (side + GAP)
        draw.text((left, 2), name, fill="black", font=font)
        for r, index in enumerate(indices):
            top = LINE + r * (side + LINE + GAP)
            pair = shown.get((name, index))
            if pair is None:
                continue
            label = f"asked: {pair.target}" if pair.target else "unedited"
            draw.text((left, top + 2), f"seed {index}", fill="grey", font=font)
            draw.text((left + side + GAP, top + 2), label, fill="grey", font=font)
            for k, image in enumerate(load_images([pair.original, pair.edited]).numpy()):
                canvas.paste(Image.fromarray(image), (left + k * (side + GAP), top + LINE))
    return np.asarray(canvas)


def strip(pairs: Sequence[Pair], columns: int = 12) -> np.ndarray:
    """One original row above one edited row, a profession a column; (H, W, 3) uint8."""
    first = {pair.profession: pair for pair in reversed(pairs)}
    chosen = [first[name] for name in _spread(list(first), columns)][::-1]
    side = load_images([pairs[0].original]).shape[1]
    canvas = Image.new("RGB", (len(chosen) * (side + GAP) + GAP, 2 * (side + GAP) + 2 * LINE), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default()
    for c, pair in enumerate(chosen):
        left = GAP + c * (side + GAP)
        draw.text((left, 2), pair.profession, fill="black", font=font)
        before, after = load_images([pair.original, pair.edited]).numpy()
        canvas.paste(Image.fromarray(before), (left, LINE))
        canvas.paste(Image.fromarray(after), (left, LINE + side + GAP))
        if pair.target:
            draw.text((left, LINE + 2 * side + GAP + 2), f"asked: {pair.target}", fill="grey", font=font)
    return np.asarray(canvas)


def _spread(names: Sequence[str], count: int) -> list[str]:
    """At most ``count`` of the names, evenly spaced, first and last included."""
    if len(names) <= count:
        return list(names)
    return [names[round(i * (len(names) - 1) / (count - 1))] for i in range(count)] if count > 1 else [names[0]]
