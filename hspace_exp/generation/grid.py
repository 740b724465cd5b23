"""Pictures of image pairs: what was, and what an edit made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hspace_exp.generation.manifest import Pair
from hspace_exp.io.images import load_images

GAP, LINE, LABEL = 4, 16, 150
_FONT = ImageFont.load_default()


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
    draw = ImageDraw.Draw(canvas)
    for c, name in enumerate(names):
        left = GAP + 2 * c * (side + GAP)
        draw.text((left, 2), name, fill="black", font=_FONT)
        for r, index in enumerate(indices):
            top = LINE + r * (side + LINE + GAP)
            pair = shown.get((name, index))
            if pair is None:
                continue
            label = f"asked: {pair.target}" if pair.target else "unedited"
            draw.text((left, top + 2), f"seed {index}", fill="grey", font=_FONT)
            draw.text((left + side + GAP, top + 2), label, fill="grey", font=_FONT)
            for k, image in enumerate(load_images([pair.original, pair.edited]).numpy()):
                canvas.paste(Image.fromarray(image), (left + k * (side + GAP), top + LINE))
    return np.asarray(canvas)


def strip(runs: Mapping[str, Sequence[Pair]], columns: int = 12, width: int | None = None) -> np.ndarray:
    """The same images under several runs, a profession a column.

    Rows are each set of unedited images once, and the edited images of every run. Below an edited row stands what each
    of its images was asked to show.

    Args:
        runs: label → pairs, at least one run; of a profession its first pair is shown.
        columns: professions shown at most, spread evenly over those of the first run.
        width: of the images' part in pixels, at most; None leaves images as they are.

    Returns:
        (H, W, 3) uint8.

    Raises:
        UserError: an image is gone, or sizes differ within a run.
    """
    rows = _rows(runs, columns)
    across, down = rows[0].images[0].size
    share = 1.0 if width is None else min(1.0, (width / len(rows[0].pairs) - GAP) / across)
    across, down = round(share * across), round(share * down)
    tall = [down + (LINE if row.asked else GAP) for row in rows]
    canvas = Image.new("RGB", (LABEL + len(rows[0].pairs) * (across + GAP), LINE + sum(tall)), "white")
    draw = ImageDraw.Draw(canvas)
    top = LINE
    for row, height in zip(rows, tall, strict=True):
        _write(draw, (2, top + down // 2 - 5), row.label, LABEL - GAP, "black")
        _write(draw, (2, top + down + 1), "asked for" if row.asked else "", LABEL - GAP, "grey")
        for c, (pair, image) in enumerate(zip(row.pairs, row.images, strict=True)):
            left = LABEL + c * (across + GAP)
            _write(draw, (left, 2), pair.profession if top == LINE else "", across, "black")
            canvas.paste(image.resize((across, down), Image.Resampling.LANCZOS), (left, top))
            _write(draw, (left, top + down + 1), pair.target if row.asked else "", across, "grey")
        top += height
    return np.asarray(canvas)


@dataclass(frozen=True)
class _Row:
    """Images of a strip beside each other; ``asked``: whether they were asked to show something."""

    label: str
    pairs: Sequence[Pair]
    images: Sequence[Image.Image]
    asked: bool


def _rows(runs: Mapping[str, Sequence[Pair]], columns: int) -> list[_Row]:
    names = _spread(list(dict.fromkeys(pair.profession for pair in next(iter(runs.values())))), columns)
    rows: list[_Row] = []
    shown: set[bytes] = set()
    for label, pairs in runs.items():
        by_profession = {pair.profession: pair for pair in reversed(pairs)}
        mine = [by_profession[name] for name in names if name in by_profession]
        before, after = (load_images([getattr(pair, kind) for pair in mine]).numpy() for kind in ("original", "edited"))
        edited = any(pair.original != pair.edited for pair in mine)
        if before.tobytes() not in shown:
            shown.add(before.tobytes())
            rows.append(_Row("unedited" if edited else label, mine, [*map(Image.fromarray, before)], asked=False))
        if edited:
            rows.append(_Row(label, mine, [*map(Image.fromarray, after)], asked=any(pair.target for pair in mine)))
    return rows


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, width: int, colour: str) -> None:
    """Write one line, cut to ``width`` pixels."""
    shown = text
    while shown and draw.textlength(shown, font=_FONT) > width:
        shown = shown.removesuffix("…")[:-1] + "…" if len(shown) > 1 else ""
    draw.text(place, shown, fill=colour, font=_FONT)


def _spread(names: Sequence[str], count: int) -> list[str]:
    """At most ``count`` of the names, evenly spaced, first and last included."""
    if len(names) <= count:
        return list(names)
    return [names[round(i * (len(names) - 1) / (count - 1))] for i in range(count)] if count > 1 else [names[0]]
