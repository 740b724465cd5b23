"""``python -m avatars_world.labelled``: draw the labelled renders that ship with the package."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import hspace_exp.avatars
from avatars_world.render import part_bits, render
from avatars_world.specs import Spec
from hspace_exp.avatars.labelled import COUNT, FILE, LabelledRenders
from hspace_exp.avatars.world import AGES, ATTRIBUTES, GENDERS, PROFESSIONS, SCENES, SKIN_TONES
from hspace_exp.io.atomic import write_bytes

# Far from the seeds of training (0 …) and of the held-out renders that models are measured on (10,000,000 …).
SEED = 30_000_000
SIZE = 128


def spec_of(i: int) -> Spec:
    """Whom render ``i`` shows: every 36 in a row are balanced, and so is each profession's six.

    Of 36, all 12 combinations of gender, age and skin tone are shown three times, and every scene three times. Of the
    216, each combination is shown 18 times; every profession is shown in six scenes, three times as each gender, three
    times at each age and twice in each skin tone; scenes are crossed evenly with gender and skin tone, and but for one
    in 18 with age.
    """
    profession, turn = i % 36, i // 36
    column, row = profession % 6, profession // 6
    pair = (column + turn) % 6  # numbers a gender and a skin tone
    gender, tone = pair % 2, pair % 3
    age = (gender + tone + row) % 2
    scene = (column + 2 * turn) % 6 + 6 * ((row // 2 + turn + row) % 2)
    return Spec(PROFESSIONS[profession], GENDERS[gender], AGES[age], SKIN_TONES[tone], SCENES[scene])


def draw(count: int = COUNT, size: int = SIZE) -> LabelledRenders:
    """The first ``count`` renders."""
    specs = [spec_of(i) for i in range(count)]
    drawn = [render(spec, SEED + i, size) for i, spec in enumerate(specs)]
    labels = {name: tuple(getattr(spec, name) for spec in specs) for name in ATTRIBUTES}
    parts = np.stack([part_bits(some.masks) for some in drawn])
    return LabelledRenders(np.stack([some.image for some in drawn]), parts, labels)


def pack(renders: LabelledRenders) -> bytes:
    """The file that ``hspace_exp.avatars.labelled`` reads."""
    webp = [_webp(image) for image in renders.images]
    codes = [[values.index(shown) for shown in renders.labels[name]] for name, values in ATTRIBUTES.items()]
    file = io.BytesIO()
    np.savez_compressed(
        file,
        webp=np.frombuffer(b"".join(webp), np.uint8),
        lengths=np.array([len(some) for some in webp]),
        parts=renders.parts,
        codes=np.array(codes, np.uint8).T,
    )
    return file.getvalue()


def _webp(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="WEBP", lossless=True, quality=80, method=4)
    return file.getvalue()


def main(arguments: Sequence[str]) -> int:
    """Write the file; returns the exit code."""
    if arguments:
        print(f"{__doc__} It takes no arguments.", file=sys.stderr)
        return 2
    path = Path(hspace_exp.avatars.__file__).with_name(FILE)
    write_bytes(path, pack(draw()))
    print(f"{path}: {COUNT} renders, {path.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
