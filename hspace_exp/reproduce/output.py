"""Tables in all formats and figures, from what runs left; no model is loaded."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from hspace_exp.io.atomic import write_bytes, write_text
from hspace_exp.results.figures import charts, strips
from hspace_exp.results.record import FILE_NAME
from hspace_exp.results.runs import collect
from hspace_exp.results.tables.build import make_table
from hspace_exp.results.tables.formats import render
from hspace_exp.results.tables.records import by_table

MOST_PIXELS = 500_000  # of a picture
COLOURS = 128  # of a picture: a third of the bytes, and no difference that the eye would find in a figure
FORMATS = {"md": "markdown", "tex": "latex", "html": "html"}


def write_tables(runs: Sequence[Path], folder: Path) -> list[Path]:
    """Write tables and figures of runs, those of one experiment under its name.

    Args:
        runs: their folders.
        folder: gets ``<experiment>.md``, ``.tex`` and ``.html``, ``figures/<experiment>_….png`` and ``.pdf``, and a
            ``README.md`` that shows them.

    Returns:
        what was written.
    """
    collected, found = collect(runs)
    tables = by_table(found)
    experiments = [group[0][1].experiment for group in tables.values()]
    written: list[Path] = []
    index = ["# Tables and figures", "", "Made by `python -m hspace_exp reproduce`; see docs/reproduce.md.", ""]
    taken: set[str] = set()
    for title, group in tables.items():
        first = group[0][1]
        several = experiments.count(first.experiment) > 1
        name = f"{first.experiment}_{first.attribute}" if several else first.experiment
        while name in taken:
            name += "_other"
        taken.add(name)
        table = make_table(title, group)
        figures: list[Path] = []
        for ending, form in FORMATS.items():
            path = folder / f"{name}.{ending}"
            write_text(path, render([table], form))
            written.append(path)
        ids = {id(record) for _, record in group}
        mine = [run for run in collected if id(run.record) in ids]
        for kind, chart in charts(mine, group).items():
            for ending in ("png", "pdf"):
                path = folder / "figures" / f"{name}_{kind}.{ending}"
                write_bytes(path, chart.encoded(ending))
                figures.append(path)
        image = strips(mine, group)
        if image is not None:
            path = folder / "figures" / f"{name}_strips.png"
            write_bytes(path, _small_png(image))
            figures.append(path)
        written += figures
        index += [f"## {table.title}", "", " · ".join(f"[{ending}]({name}.{ending})" for ending in FORMATS), ""]
        shown = [path for path in figures if path.suffix == ".png"]
        index += [f"![{path.stem.replace('_', ' ')}](figures/{path.name})\n" for path in shown]
    write_text(folder / "README.md", "\n".join(index))
    return [*written, folder / "README.md"]


def copy_records(runs: Sequence[Path], folder: Path) -> None:
    """Copy records to ``folder/<experiment>/results/…``, without the spaces that make a third of them.

    ``python -m hspace_exp tables folder/<experiment>/results`` makes the same table.
    """
    for run in runs:
        experiment, *rest = run.parts[-5:]
        text = json.dumps(json.loads((run / FILE_NAME).read_bytes()), separators=(",", ":"), ensure_ascii=False)
        write_text(folder.joinpath(experiment, "results", *rest, FILE_NAME), text + "\n")


def _small_png(image: np.ndarray) -> bytes:
    """(H, W, 3) uint8 as a PNG with a palette, smaller where it has many pixels."""
    data, picture = io.BytesIO(), Image.fromarray(image)
    share = math.sqrt(min(1.0, MOST_PIXELS / (picture.width * picture.height)))
    picture.thumbnail((round(share * picture.width), round(share * picture.height)))
    picture.quantize(COLOURS).save(data, format="PNG", optimize=True)
    return data.getvalue()
