"""CSV tables of images: rows of text, which no spreadsheet runs; and text that Markdown shows as it is."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hspace_exp.errors import UserError, getting
from hspace_exp.io.atomic import write_text

# What a spreadsheet takes for a formula, no number, behind the quotes that make it text.
_FORMULA = re.compile(r"(?![+-]?[\d.]+(e[+-]?\d+)?\Z)'*[=+\-@\t\r]")


def inert(cell: object) -> str:
    """A cell as text that a spreadsheet does not run: what begins as a formula gets a quote, unless it is a number.

    ``read_rows`` takes the quote away again.
    """
    return f"'{cell}" if _FORMULA.match(str(cell)) else str(cell)


def markdown(text: object, kept: str = "") -> str:
    """Text that Markdown shows as it is, on one line and in a table too; characters of ``kept`` keep their meaning."""
    line = re.sub(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+", " ", str(text))
    return re.sub(r"[\\`|<]|(?<=\])\(", lambda found: found[0] if found[0] in kept else f"\\{found[0]}", line)


def read_rows(
    path: Path, columns: Sequence[str], advice: str, absent: str | None = None, what: str = "images"
) -> list[dict[str, str]]:
    """Read a table of ``what`` with a heading and at least these columns; ``advice`` says what to do where it is none.

    Cells that a row lacks at its end are ``absent``; None: there must be none.

    Raises UserError: it is not there, is no table, is empty, lacks a column, or has rows of another length.
    """
    with getting(f"the table {path}", advice), path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, restval=absent))
    if not rows:
        raise UserError(f"{path} lists no {what}: {advice}")
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            other = "more cells than the heading: put texts with commas into quotes"
            raise UserError(f"row {number} of {path} has {other if None in row else 'fewer cells than the heading'}")
    rows = [{_own(key): _own(cell) for key, cell in row.items()} for row in rows]
    missing = [column for column in columns if rows[0].get(column) is None]
    if missing:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}: {advice}")
    return rows


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a table with a heading, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(map(inert, row) for row in (columns, *rows))
    write_text(path, text.getvalue())
    return path


def _own(cell: Any) -> Any:
    """A cell as it was before ``inert``; csv gives None and lists in rows of another length."""
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and _FORMULA.match(cell) else cell
