"""``manifest.csv``: every pair of an unedited image and its edited twin, what it shows and what it was asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from hspace_exp.errors import getting
from hspace_exp.io.rows import read_rows, write_rows
from hspace_exp.prompts.plan import Item

COLUMNS = ("prompt", "profession", "seed_index", "target", "strength", "original", "edited")


@dataclass(frozen=True)
class Pair:
    """An unedited image and the edited one of the same prompt and noise."""

    prompt: str  # what both were made from
    profession: str  # the group
    seed_index: int  # which noise
    target: str  # value of the attribute asked for; "" for none
    strength: float  # strength of the edit
    original: Path  # file of the unedited image
    edited: Path  # file of the edited image; the same file for the unedited model

    @property
    def name(self) -> str:
        """What makes the pair unique in a manifest, the same for every method."""
        return "\x1f".join((self.profession, self.prompt, str(self.seed_index), self.target))


def write_manifest(run_dir: Path, items: Sequence[Item], strength: Mapping[str, float], edited: bool) -> Path:
    """Write ``manifest.csv``. Without an edit the edited image is the unedited one.

    ``strength`` is each concept's; of a composition the manifest tells the largest of its parts.
    """
    pairs = []
    for item in items:
        original = run_dir / "images" / "original" / item.file
        shown = run_dir / "images" / "edited" / item.file if edited else original
        amount = max((strength[name] for name in item.parts), default=0.0) if edited else 0.0
        pairs.append(Pair(item.prompt, item.profession, item.seed_index, item.target, amount, original, shown))
    return write_pairs(run_dir, pairs)


def write_pairs(folder: Path, pairs: Sequence[Pair]) -> Path:
    """List pairs in ``manifest.csv``, with the images' paths relative to ``folder``."""
    texts = [[getattr(pair, column) for column in COLUMNS[:-2]] for pair in pairs]
    paths = [[os.path.relpath(path, folder) for path in (pair.original, pair.edited)] for pair in pairs]
    rows = [[*text, *path] for text, path in zip(texts, paths, strict=True)]
    return write_rows(folder / "manifest.csv", COLUMNS, rows)


def read_manifest(path: str | Path) -> list[Pair]:
    """Read ``manifest.csv``; image paths are relative to its folder.

    Raises UserError: the file is missing or empty, lacks a column or holds a broken row.
    """
    path = Path(path)
    rows = read_rows(path, COLUMNS, "run the generation stage first")
    with getting(f"the table {path}", "run the generation stage again"):
        pairs = TypeAdapter(list[Pair]).validate_python([{**row, "strength": row["strength"] or 0} for row in rows])
    return [replace(pair, original=path.parent / pair.original, edited=path.parent / pair.edited) for pair in pairs]
