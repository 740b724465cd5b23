"""Pairs of images to evaluate, as ``manifest.csv`` lists them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from hspace_exp.errors import UserError

COLUMNS = ("prompt", "profession", "seed_index", "target", "strength", "original", "edited")
READERS = 4


@dataclass(frozen=True)
class Pair:
    """An unedited image and the edited one of the same prompt and noise.

    Attributes:
        prompt: what both were made from.
        profession: the group.
        seed_index: which noise.
        target: value of the attribute asked for; "" for none.
        strength: strength of the edit.
        original: file of the unedited image.
        edited: file of the edited image; the same file for the unedited model.
    """

    prompt: str
    profession: str
    seed_index: int
    target: str
    strength: float
    original: Path
    edited: Path

    @property
    def name(self) -> str:
        """What makes the pair unique in a manifest, the same for every method."""
        return "\x1f".join((self.profession, self.prompt, str(self.seed_index), self.target))


def read_manifest(path: str | Path) -> list[Pair]:
    """Read ``manifest.csv``; image paths are relative to its folder.

    Raises:
        UserError: the file is missing, empty or lacks a column.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError as error:
        raise UserError(f"no manifest at {path}: run the generation stage first") from error
    if not rows:
        raise UserError(f"{path} lists no images: run the generation stage again")
    missing = [column for column in COLUMNS if rows[0].get(column) is None]
    if missing:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}: run the generation stage again")
    try:
        return [
            Pair(
                prompt=row["prompt"],
                profession=row["profession"],
                seed_index=int(row["seed_index"]),
                target=row["target"],
                strength=float(row["strength"] or 0),
                original=path.parent / row["original"],
                edited=path.parent / row["edited"],
            )
            for row in rows
        ]
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} holds a broken row ({error}): run the generation stage again") from error


def load_images(paths: Sequence[Path]) -> Tensor:
    """Read images of one size, several at once where the process may use several threads; (B, H, W, 3) uint8.

    Raises:
        UserError: a file is missing or no whole image, or sizes differ.
    """
    readers = min(READERS, torch.get_num_threads(), len(paths))
    if readers > 1:
        with ThreadPoolExecutor(readers) as pool:
            arrays = list(pool.map(_read, paths))
    else:
        arrays = [_read(path) for path in paths]
    for path, array in zip(paths, arrays, strict=True):
        if array.shape != arrays[0].shape:
            height, width = array.shape[:2]
            raise UserError(f"{path} is {width} x {height} pixels, unlike {paths[0]}: evaluate images of one size")
    return torch.from_numpy(np.stack(arrays))


def _read(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except FileNotFoundError as error:
        raise UserError(f"no image at {path}: run the generation stage again") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} is no whole image: delete it and run the command again") from error


def as_float(images: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float32 in [0, 1]."""
    return images.permute(0, 3, 1, 2).to(torch.float32) / 255
