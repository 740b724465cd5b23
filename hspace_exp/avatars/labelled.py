"""Renders of the embedded world whose attributes and parts are known exactly, shipped as data.

No model was trained on them. ``python -m avatars_world.labelled`` draws them and writes ``labelled.npz``.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import numpy as np
import numpy.typing as npt
from PIL import Image

from hspace_exp.avatars.world import ATTRIBUTES
from hspace_exp.errors import getting, unknown

FILE = "labelled.npz"
COUNT = 216
PARTS = ("person", "gender", "skin", "profession", "glasses")


@dataclass(frozen=True)
class LabelledRenders:
    """Images whose content is known; every 36 in a row show each profession once, all other values evenly."""

    images: npt.NDArray[np.uint8]  # (N, 128, 128, 3) uint8
    parts: npt.NDArray[np.uint8]  # (N, 128, 128) uint8; bit k is set where ``PARTS[k]`` is
    labels: Mapping[str, tuple[str, ...]]  # attribute → its value in each image

    def mask(self, part: str) -> npt.NDArray[np.bool_]:
        """(N, 128, 128) where one of ``PARTS`` is."""
        if part not in PARTS:
            raise unknown("part", part, PARTS)
        return (self.parts >> PARTS.index(part) & 1).astype(bool)


@functools.cache
def load_labelled() -> LabelledRenders:
    """The ``COUNT`` shipped renders.

    The file holds ``webp`` (lossless images, one after another), ``lengths`` (bytes of each), ``parts`` as above, and
    ``codes`` (N, 5), the place of each value among those of its attribute, in the order of ``ATTRIBUTES``. Raises
    UserError: the file is missing or damaged.
    """
    with getting(f"the labelled renders {FILE}", "reinstall the package"):
        content = resources.files("hspace_exp.avatars").joinpath(FILE).read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            webp, ends = file["webp"].tobytes(), file["lengths"].cumsum()
            parts, codes = file["parts"], file["codes"]
        starts = np.concatenate([[0], ends[:-1]])
        images = [Image.open(io.BytesIO(webp[a:b])).convert("RGB") for a, b in zip(starts, ends, strict=True)]
    values = zip(ATTRIBUTES.items(), codes.T, strict=True)
    labels = {name: tuple(choices[code] for code in column) for (name, choices), column in values}
    return LabelledRenders(np.stack([np.asarray(image) for image in images]), parts, labels)
