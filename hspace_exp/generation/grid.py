"""Pictures of image pairs: what was, and what an edit made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from hspace_exp.generation.manifest import Pair
from hspace_exp.io.images import load_images

GAP, LINE, LABEL = 4, 16, 150
KINDS = ("original", "edited")


def pair_grid(pairs: Sequence[Pair], *, professions: int = 6, seeds: int = 4) -> np.ndarray:
    """The pairs of one run, (H, W, 3) uint8: rows are seeds, unedited above edited; columns are professions.

    At most so many ``seeds`` are shown, and ``professions``, spread evenly over those there are.
    """
    indices = sorted({pair.seed_index for pair in pairs})[:seeds]
    by_seed = {f"seed {index}": [pair for pair in pairs if pair.seed_index == index] for index in indices}
    return _drawn(by_seed, _spread(pairs, professions))


def strip(runs: Mapping[str, Sequence[Pair]], columns: int = 12, width: int | None = None) -> np.ndarray:
    """The same images under several runs (label → pairs), a profession a column; (H, W, 3) uint8.

    Rows are each set of unedited images once, and the edited images of every run: of a profession the first pair. Below
    an edited row stands what each of its images was asked to show. At most so many ``columns`` are shown, spread evenly
    over the professions of the first run; their images are ``width`` pixels wide together, at most. Raises UserError:
    an image is gone, or sizes differ within a run.
    """
    return _drawn(runs, _spread(next(iter(runs.values())), columns), width)


@dataclass(frozen=True)
class _Row:
    """Images of some professions, (H, W, 3) uint8, and what they were asked to show; {} where that is nothing."""

    label: str
    images: Mapping[str, np.ndarray]
    asked: Mapping[str, str]

    @property
    def foot(self) -> int:
        """Pixels below the images."""
        return LINE if self.asked else GAP


def _drawn(runs: Mapping[str, Sequence[Pair]], names: Sequence[str], width: int | None = None) -> np.ndarray:
    """The rows of runs; ``names`` are the professions of the columns."""
    rows = _rows(runs, names)
    down, across = next(iter(rows[0].images.values())).shape[:2]
    share = 1.0 if width is None else min(1.0, (width / len(names) - GAP) / across)
    across, down = round(share * across), round(share * down)
    height = LINE + sum(down + row.foot for row in rows)
    canvas = Image.new("RGB", (LABEL + len(names) * (across + GAP), height), "white")
    draw = ImageDraw.Draw(canvas)
    lefts = {name: LABEL + c * (across + GAP) for c, name in enumerate(names)}
    for name, left in lefts.items():
        _write(draw, (left, 2), name, across, "black")
    top = LINE
    for row in rows:
        _write(draw, (2, top + down // 2 - 5), row.label, LABEL - GAP, "black")
        _write(draw, (2, top + down + 1), "asked for" if row.asked else "", LABEL - GAP, "grey")
        for name, image in row.images.items():
            picture = Image.fromarray(image).resize((across, down), Image.Resampling.LANCZOS)
            canvas.paste(picture, (lefts[name], top))
            _write(draw, (lefts[name], top + down + 1), row.asked.get(name, ""), across, "grey")
        top += down + row.foot
    return np.asarray(canvas)


def _rows(runs: Mapping[str, Sequence[Pair]], names: Sequence[str]) -> list[_Row]:
    rows: list[_Row] = []
    shown: set[bytes] = set()
    for label, pairs in runs.items():
        first = {pair.profession: pair for pair in reversed(pairs)}
        mine = {name: first[name] for name in names if name in first}
        if not mine:
            continue
        before, after = (load_images([getattr(pair, kind) for pair in mine.values()]).numpy() for kind in KINDS)
        edited = any(pair.original != pair.edited for pair in mine.values())
        if before.tobytes() not in shown:
            shown.add(before.tobytes())
            rows.append(_Row("unedited" if edited else label, dict(zip(mine, before, strict=True)), {}))
        if edited:
            asked = {name: pair.target for name, pair in mine.items() if pair.target}
            rows.append(_Row(label, dict(zip(mine, after, strict=True)), asked))
    return rows


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, width: int, colour: str) -> None:
    """Write one line, cut to ``width`` pixels."""
    cuts = (text, *(f"{text[:end]}…" for end in reversed(range(len(text)))), "")
    draw.text(place, next(cut for cut in cuts if draw.textlength(cut) <= width), fill=colour)


def _spread(pairs: Sequence[Pair], count: int) -> list[str]:
    """At most ``count`` of the professions, evenly spaced, first and last included."""
    names = list(dict.fromkeys(pair.profession for pair in pairs))
    count = min(count, len(names))
    return [names[round(i * (len(names) - 1) / max(count - 1, 1))] for i in range(count)]
