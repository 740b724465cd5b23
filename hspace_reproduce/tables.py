"""The tables and figures of many runs, and a page that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hspace_exp.io.atomic import write_bytes, write_text
from hspace_exp.io.rows import markdown
from hspace_exp.results.figures import charts, small_png, strips
from hspace_exp.results.runs import Run
from hspace_exp.results.tables.build import make_table
from hspace_exp.results.tables.formats import render
from hspace_exp.results.tables.records import by_table, group_of

FORMATS = {"md": "markdown", "tex": "latex"}


def write_tables(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write tables and figures of runs, those of one experiment under its name; returns what was written.

    ``folder`` gets ``<experiment>.md`` and ``.tex``, ``figures/<experiment>_….png`` and ``.pdf``, and a
    ``README.md`` that shows them.
    """
    tables = by_table(runs)
    kinds = [(group[0].record.experiment, group[0].record.attribute) for group in tables.values()]
    written: list[Path] = []
    index = ["# Tables and figures\n\nMade by `python -m hspace_exp reproduce`; see docs/reproduce.md.\n"]
    taken: set[str] = set()
    for title, group in tables.items():
        first = group[0].record
        attributes = [attribute for experiment, attribute in kinds if experiment == first.experiment]
        which = first.attribute if len(set(attributes)) > 1 else group_of(first)
        name = f"{first.experiment}_{which}" if len(attributes) > 1 and which else first.experiment
        while name in taken:
            name += "_other"
        taken.add(name)
        table = make_table(title, group)
        files = {folder / f"{name}.{ending}": render([table], form).encode() for ending, form in FORMATS.items()}
        for kind, chart in charts(group).items():
            for ending in ("png", "pdf"):
                files[folder / "figures" / f"{name}_{kind}.{ending}"] = chart.encoded(ending)
        picture = strips(group)
        if picture is not None:
            files[folder / "figures" / f"{name}_strips.png"] = small_png(picture)
        for path, data in files.items():
            write_bytes(path, data)
        written += files
        links = " · ".join(f"[{ending}]({name}.{ending})" for ending in FORMATS)
        index.append(f"## {markdown(table.title)}\n\n{links}\n")
        index += [f"![{path.stem.replace('_', ' ')}](figures/{path.name})\n" for path in files if path.suffix == ".png"]
    write_text(folder / "README.md", "\n".join(index))
    return [*written, folder / "README.md"]
