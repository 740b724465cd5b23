"""Tables as text: Markdown that reads as plain text, or LaTeX (booktabs)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tabulate import tabulate

from hspace_exp.errors import unknown
from hspace_exp.io.atomic import write_text
from hspace_exp.io.rows import markdown
from hspace_exp.results.tables.build import Cell, Table, build

EMPTY, CODE = "-", "`|\\"  # of a cell; what lines below a table may mean


def _markdown_table(table: Table) -> str:
    parts, named = [f"## {markdown(table.title)}\n"], [*map(markdown, table.rows)]
    for block in table.blocks:
        rows = [[label, *map(_markdown_cell, cells)] for label, cells in zip(named, block.cells, strict=True)]
        parts += [f"**{block.title}**\n", _aligned(rows, [*map(markdown, block.headings)], "pipe") + "\n"]
    return "\n".join([*parts, *(f"- {markdown(line, CODE)}" for line in table.footers), ""])


def _aligned(rows: Sequence[Sequence[str]], headings: Sequence[str], form: str) -> str:
    sides = ("left", *("right" for _ in headings))
    return tabulate(rows, ["Method", *headings], tablefmt=form, colalign=sides, disable_numparse=True)


def _markdown_cell(cell: Cell) -> str:
    value = f"**{cell.value}**" if cell.best else cell.value or EMPTY
    return f"{value} [{cell.interval}]" if cell.interval else value


def _latex_table(table: Table) -> str:
    lines = [r"\begin{table}", r"\centering\small", rf"\caption{{{_tex(table.title)}}}"]
    for block in table.blocks:
        rows = [[_tex(label), *map(_latex_cell, cells)] for label, cells in zip(table.rows, block.cells, strict=True)]
        text = _aligned(rows, [*map(_tex, block.headings)], "latex_raw")
        for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
            text = text.replace(r"\hline", rule, 1)
        lines += [text, r"\par\medskip"]
    lines.append(r"\begin{minipage}{\linewidth}\footnotesize\raggedright")
    lines += [_tex(line) + r"\par" for line in table.footers]
    return "\n".join([*lines, r"\end{minipage}", r"\end{table}", ""])


def _latex_cell(cell: Cell) -> str:
    value = _tex(cell.value).replace("-", "$-$") or EMPTY
    value = rf"\textbf{{{value}}}" if cell.best else value
    return rf"{value} {{\scriptsize [{_tex(cell.interval).replace('-', '$-$')}]}}" if cell.interval else value


_TEX = {
    **{c: "\\" + c for c in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "∞": r"$\infty$", "…": r"\dots{}",
}  # fmt: skip


def _tex(text: str) -> str:
    pieces = ["".join(_TEX.get(c, c) for c in piece) for piece in text.split("`")]
    # Braces keep the hyphens of an option such as --format from becoming a dash.
    return "".join(rf"\texttt{{{piece.replace('-', '{-}')}}}" if i % 2 else piece for i, piece in enumerate(pieces))


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "markdown": lambda tables: "\n".join(map(_markdown_table, tables)),
    "latex": lambda tables: "\n".join(map(_latex_table, tables)),  # needs the package booktabs
}


def render(tables: Sequence[Table], form: str = "markdown") -> str:
    """Tables as text in one of ``FORMATS``. Raises UserError: the format is unknown."""
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    return FORMATS[form](tables)


def write(paths: Sequence[Path], form: str = "markdown", out: Path | None = None, metrics: str = "") -> None:
    """Print, or write to a file, tables of the runs in and below paths; ``metrics`` are names joined by commas."""
    text = render(build(paths, metrics.split(",") if metrics else None), form)
    if out:
        write_text(out, text)
    else:
        print(text, end="")
