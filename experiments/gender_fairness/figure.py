"""The README's picture: the unedited images of some professions, and one edited row a method, of finished runs.

    R=outputs/gender_fairness/avatars/gender
    python experiments/gender_fairness/figure.py $R/{sdid,lwim,respodiff,focused}/seed=0,protocol=full --out figure.png

Rows are named after the method, which is the name of a run's folder, or of the one above it. Images are not chosen:
every profession, of the first run's the first twelve, shows its first seed unless --seed asks for another.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hspace_exp.errors import UserError
from hspace_exp.generation.grid import GAP, LINE
from hspace_exp.generation.manifest import Pair, read_manifest
from hspace_exp.io.atomic import write_bytes
from hspace_exp.io.images import load_images

COLUMNS = 12
LABEL = 76


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs that hold images")
    parser.add_argument("--professions", default="", metavar="A,B")
    parser.add_argument("--seed", type=int, default=0, help="seed index of the images (default: 0)")
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    try:
        of_first = [pair.profession for pair in read_manifest(a.runs[0] / "manifest.csv")]
        professions = a.professions.split(",") if a.professions else list(dict.fromkeys(of_first))[:COLUMNS]
        rows = {named(run): chosen(run, professions, a.seed) for run in a.runs}
        draw(rows, a.out)
    except UserError as error:
        sys.exit(f"error: {error}")


def named(run: Path) -> str:
    """The method of a run's folder."""
    return run.parent.name if run.name.startswith("seed=") else run.name


def chosen(run: Path, professions: list[str], seed: int) -> list[Pair]:
    """One pair a profession."""
    found = {p.profession: p for p in read_manifest(run / "manifest.csv") if p.seed_index == seed}
    missing = [name for name in professions if name not in found]
    if missing:
        raise UserError(f"{run} has no image of seed index {seed} of {', '.join(missing)}")
    return [found[name] for name in professions]


def draw(rows: dict[str, list[Pair]], out: Path) -> None:
    """Write the picture with 256 colours, a third of the size."""
    pairs = next(iter(rows.values()))
    pictures = {"unedited": load_images([p.original for p in pairs]).numpy()}
    pictures |= {name: load_images([p.edited for p in some]).numpy() for name, some in rows.items()}
    side = pictures["unedited"].shape[1] + GAP
    canvas = Image.new("RGB", (LABEL + side * len(pairs), 2 * LINE + side * len(pictures)), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default()
    for c, pair in enumerate(pairs):
        pen.text((LABEL + c * side, 2), pair.profession, fill="black", font=font)
        asked = (LABEL + c * side, LINE + side * len(pictures))
        pen.text(asked, f"asked: {pair.target}", fill="grey", font=font)
    for r, (name, images) in enumerate(pictures.items()):
        pen.text((2, LINE + r * side + side // 2), name, fill="black", font=font)
        for c, image in enumerate(images):
            canvas.paste(Image.fromarray(np.asarray(image)), (LABEL + c * side, LINE + r * side))
    written = io.BytesIO()
    canvas.quantize(256).save(written, format="PNG", optimize=True)
    write_bytes(out, written.getvalue())


if __name__ == "__main__":
    main()
