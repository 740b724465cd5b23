"""Tables as Markdown that also reads well as plain text, as LaTeX (booktabs), and as an HTML page."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

from hspace_exp.errors import unknown
from hspace_exp.results.tables.build import Block, Cell, Table

EMPTY = "-"


def markdown(tables: Sequence[Table]) -> str:
    """Pipe tables with columns padded to one width."""
    return "\n".join(_markdown_table(table) for table in tables)


def _markdown_table(table: Table) -> str:
    lines = [f"## {table.title}", ""]
    for block in table.blocks:
        head = ["Method", *_headings(block)]
        body = [[label, *map(_markdown_cell, cells)] for label, cells in zip(table.rows, block.cells, strict=True)]
        body = [[text.replace("|", "\\|") for text in row] for row in body]
        widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines += [f"**{block.title}**", ""]
        for row in (head, rule, *body):
            padded = [row[0].ljust(widths[0]), *(text.rjust(w) for text, w in zip(row[1:], widths[1:], strict=True))]
            lines.append(f"| {' | '.join(padded)} |")
        lines.append("")
    return "\n".join([*lines, *(f"- {line}" for line in table.footers), ""])


def _markdown_cell(cell: Cell) -> str:
    value = f"**{cell.value}**" if cell.best else cell.value or EMPTY
    return f"{value} [{cell.interval}]" if cell.interval else value


def latex(tables: Sequence[Table]) -> str:
    """One ``table`` environment a table; needs the package booktabs."""
    return "\n".join(_latex_table(table) for table in tables)


def _latex_table(table: Table) -> str:
    lines = [r"\begin{table}", r"\centering\small", rf"\caption{{{_tex(table.title)}}}"]
    for block in table.blocks:
        lines += [rf"\begin{{tabular}}{{l{'r' * len(block.columns)}}}", r"\toprule"]
        lines.append(" & ".join(["Method", *map(_tex, _headings(block))]) + r" \\")
        lines.append(r"\midrule")
        for label, cells in zip(table.rows, block.cells, strict=True):
            lines.append(" & ".join([_tex(label), *map(_latex_cell, cells)]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}", r"\par\medskip"]
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


def page(tables: Sequence[Table]) -> str:
    """A self-contained HTML page."""
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}"
        "table{border-collapse:collapse;margin:1rem 0}caption{text-align:left;font-weight:600;padding:.3rem 0}"
        "th,td{padding:.3rem .8rem;text-align:right;white-space:nowrap}th:first-child,td:first-child{text-align:left}"
        "thead th{border-top:2px solid;border-bottom:1px solid}tbody tr:last-child td{border-bottom:2px solid}"
        "small{color:#666}ul{color:#444;font-size:.9em}"
    )
    head = f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Results</title>\n<style>{style}</style>'
    return "\n".join([head, *map(_html_table, tables), "</html>", ""])


def _html_table(table: Table) -> str:
    lines = [f"<h2>{html.escape(table.title)}</h2>"]
    for block in table.blocks:
        lines.append(f"<table><caption>{html.escape(block.title)}</caption>")
        lines.append(_html_row(["Method", *map(html.escape, _headings(block))], "th", "thead"))
        lines.append("<tbody>")
        for label, cells in zip(table.rows, block.cells, strict=True):
            lines.append(_html_row([html.escape(label), *map(_html_cell, cells)], "td"))
        lines.append("</tbody></table>")
    lines += ["<ul>", *(f"<li>{_html_code(line)}</li>" for line in table.footers), "</ul>"]
    return "\n".join(lines)


def _html_row(texts: Sequence[str], tag: str, around: str = "") -> str:
    row = "<tr>" + "".join(f"<{tag}>{text}</{tag}>" for text in texts) + "</tr>"
    return f"<{around}>{row}</{around}>" if around else row


def _html_cell(cell: Cell) -> str:
    value = html.escape(cell.value or EMPTY)
    value = f"<strong>{value}</strong>" if cell.best else value
    return f"{value} <small>[{html.escape(cell.interval)}]</small>" if cell.interval else value


def _html_code(text: str) -> str:
    pieces = html.escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces))


def _headings(block: Block) -> list[str]:
    return [f"{c.heading} {a}".strip() for c, a in zip(block.columns, block.arrows, strict=True)]


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {"markdown": markdown, "latex": latex, "html": page}


def render(tables: Sequence[Table], form: str = "markdown") -> str:
    """Tables as text in one of ``FORMATS``.

    Raises:
        UserError: the format is unknown.
    """
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    return FORMATS[form](tables)
