"""Stack the strips of several runs: the unedited row once, then one edited row a method.

python experiments/h_space_comparison/figure.py RUN_DIR [RUN_DIR …] --out figure.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hspace_exp.atomic import save_png
from hspace_exp.grid import GAP, LINE
from hspace_exp.record import read_record

LABEL = 72


def main() -> None:
    """Write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    strips = [(read_record(run).method, Image.open(run / "strip.png").convert("RGB")) for run in a.runs]
    width, height = strips[0][1].size
    side = (height - 2 * LINE - 2 * GAP) // 2
    canvas = Image.new("RGB", (LABEL + width, LINE + (side + GAP) * (len(strips) + 1) + LINE), "white")
    canvas.paste(strips[0][1].crop((0, 0, width, LINE + side)), (LABEL, 0))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default()
    draw.text((2, LINE + side // 2), "original", fill="black", font=font)
    top = LINE + side + GAP
    for name, strip in strips:
        canvas.paste(strip.crop((0, LINE + side + GAP, width, LINE + 2 * side + GAP)), (LABEL, top))
        draw.text((2, top + side // 2), name, fill="black", font=font)
        top += side + GAP
    canvas.paste(strips[0][1].crop((0, height - LINE, width, height)), (LABEL, top - GAP + 2))
    save_png(a.out, np.asarray(canvas))


if __name__ == "__main__":
    main()
