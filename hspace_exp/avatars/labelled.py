"""Renders of known truth for judges, drawn here or ahead of time by a process of their own.

Run as ``python -m hspace_exp.avatars.labelled``, it draws for another process: raw pixels on the standard output.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from avatars_world.render import Pixels, render
from hspace_exp.avatars.world import ATTRIBUTES, PROFESSIONS, Spec, sample_spec
from hspace_exp.io.progress import track

# Far from the seeds of training (0 …) and of the held-out renders that models are measured on (10,000,000 …).
SEED = 30_000_000


@dataclass(frozen=True)
class Wanted:
    """Which renders: professions and values in turn.

    Attributes:
        attributes: whose values are the labels, or whose combinations.
        count: number of images.
        size: side of the images in pixels.
    """

    attributes: tuple[str, ...]
    count: int
    size: int

    def value(self, i: int) -> tuple[str, ...]:
        """What render ``i`` shows of each attribute."""
        choices = list(product(*(ATTRIBUTES[name] for name in self.attributes)))
        return choices[(i // len(PROFESSIONS)) % len(choices)]

    def spec(self, i: int) -> Spec:
        """Whom render ``i`` shows."""
        fixed = dict(zip(self.attributes, self.value(i), strict=True))
        return sample_spec(np.random.default_rng([SEED, i]), PROFESSIONS[i % len(PROFESSIONS)], **fixed)

    def draw(self) -> Pixels:
        """(count, size, size, 3) images."""
        numbers = track(range(self.count), description="render labelled images")
        images = [render(self.spec(i), SEED + i, self.size, parts=False).image for i in numbers]
        return np.stack(images)


class Ahead:
    """Renders that another process draws meanwhile; drawing holds Python's global lock."""

    def __init__(self, wanted: Wanted) -> None:
        """Start; nothing is said of what goes wrong, as the renders can be drawn here, too."""
        self.wanted = wanted
        command = [sys.executable, "-m", __name__, str(wanted.count), str(wanted.size), *wanted.attributes]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def images(self) -> Pixels:
        """Wait for them; where that process failed, draw them here."""
        pixels, _ = self._process.communicate()
        shape = (self.wanted.count, self.wanted.size, self.wanted.size, 3)
        if self._process.returncode or len(pixels) != np.prod(shape):
            return self.wanted.draw()
        return np.frombuffer(bytearray(pixels), np.uint8).reshape(shape)

    def stop(self) -> None:
        """Give them up."""
        self._process.kill()
        self._process.communicate()


def main(arguments: Sequence[str]) -> None:
    """Draw: number of images, their side, and the attributes."""
    count, size, *attributes = arguments
    sys.stdout.buffer.write(Wanted(tuple(attributes), int(count), int(size)).draw().tobytes())


if __name__ == "__main__":
    main(sys.argv[1:])
