"""Contact sheets of the world: ``python -m avatars_world.preview --out FOLDER [--seed N] [--columns N]``.

Writes ``professions.png`` (every subject, both genders and ages, masks beside), ``scenes.png`` (every scene alone, with
a person, and its masks) and ``looks.png`` (hair, facial hair, skin tones and ages of plain persons).
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from avatars_world import people
from avatars_world.render import Mask, Pixels, render, render_scene
from avatars_world.specs import Spec
from hspace_exp.avatars.world import AGES, GENDERS, SCENES, SKIN_TONES, SUBJECTS
from hspace_exp.errors import UserError
from hspace_exp.io.atomic import save_png

SIZE = 128
MASK_COLOURS: Mapping[str, tuple[int, int, int]] = {
    "background": (38, 42, 48),
    "skin": (244, 180, 120),
    "gender": (229, 57, 53),
    "profession": (66, 133, 244),
    "glasses": (255, 235, 59),
}
_LABEL_HEIGHT = 14

Cell = tuple[str, Pixels]  # a label and an image


def picture_of(masks: Mapping[str, Mask]) -> Pixels:
    """Masks as one coloured (S, S, 3) picture; ``MASK_COLOURS`` is its key."""
    picture = np.zeros((*masks["person"].shape, 3), np.uint8)
    for name, colour in MASK_COLOURS.items():
        picture[masks[name]] = colour
    return picture


def sheet(cells: Sequence[Cell], columns: int) -> Pixels:
    """Cells in rows of ``columns``, each above its label."""
    height, width = cells[0][1].shape[0] + _LABEL_HEIGHT, cells[0][1].shape[1]
    page = Image.new("RGB", (columns * width, -(-len(cells) // columns) * height), "white")
    pen = ImageDraw.Draw(page)
    for index, (label, image) in enumerate(cells):
        x, y = index % columns * width, index // columns * height
        page.paste(Image.fromarray(image), (x, y))
        pen.text((x + 3, y + height - _LABEL_HEIGHT + 1), label, fill="black")
    return np.asarray(page)


def profession_cells(seed: int) -> list[Cell]:
    """One cell a subject: woman and man, young and old, each with its masks; skin tones and scenes in turn."""
    cells = []
    for number, subject in enumerate(SUBJECTS):
        strip = []
        for turn, (gender, age) in enumerate(itertools.product(GENDERS, AGES)):
            scene = SCENES[(number + 5 * turn) % len(SCENES)]
            spec = Spec(subject, gender, age, SKIN_TONES[(number + turn) % len(SKIN_TONES)], scene)
            drawn = render(spec, seed + 1000 * turn + number, SIZE)
            strip += [drawn.image, picture_of(drawn.masks)]
        cells.append(
            (f"{subject}: " + ", ".join(f"{a} {g}" for g, a in itertools.product(GENDERS, AGES)), np.hstack(strip))
        )
    return cells


def scene_cells(seed: int) -> list[Cell]:
    """One cell a scene: two instances alone, two with a person, and the masks of the last."""
    cells = []
    for number, scene in enumerate(SCENES):
        seeds = [seed + 4 * number + i for i in range(4)]
        alone = [render_scene(scene, s, SIZE) for s in seeds[:2]]
        specs = [Spec("person", gender, "young", SKIN_TONES[number % 3], scene) for gender in GENDERS]
        drawn = [render(spec, s, SIZE) for spec, s in zip(specs, seeds[2:], strict=True)]
        cells.append((scene, np.hstack([*alone, *(d.image for d in drawn), picture_of(drawn[-1].masks)])))
    return cells


def look_cells(seed: int) -> list[Cell]:
    """One cell a hair style: its first two seeds, young and old, in the three skin tones in turn."""
    cells = []
    for gender in GENDERS:
        for style in people.HAIR[gender]:
            probe = Spec("person", gender, "young", "light", "office")
            seeds = itertools.islice((s for s in itertools.count(seed) if people.look(probe, s).hair == style), 2)
            strip = [
                render(Spec("person", gender, age, SKIN_TONES[(i + s) % 3], SCENES[s % len(SCENES)]), s, SIZE).image
                for i, s in enumerate(seeds)
                for age in AGES
            ]
            cells.append((f"{gender}, {style}", np.hstack(strip)))
    return cells


def write(out: Path, seed: int = 0, columns: int = 2) -> list[Path]:
    """Write the sheets into ``out`` and return their paths."""
    if columns < 1:
        raise UserError(f"--columns must be at least 1, got {columns}")
    paths = []
    for name, cells in (("professions", profession_cells), ("scenes", scene_cells), ("looks", look_cells)):
        paths.append(out / f"{name}.png")
        save_png(paths[-1], sheet(cells(seed), columns))
    return paths


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 when the sheets are written, 2 after a one-line error."""
    parser = argparse.ArgumentParser(
        prog="python -m avatars_world.preview", description="contact sheets of the avatars"
    )
    parser.add_argument("--out", type=Path, default=Path("outputs/preview"), help="folder for the PNG files")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--columns", type=int, default=2, help="cells a row")
    a = parser.parse_args(arguments)
    try:
        for path in write(a.out, a.seed, a.columns):
            print(path)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
