"""CSV tables of images: rows of text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hspace_exp.errors import UserError, getting
from hspace_exp.io.atomic import write_text


def read_rows(path: Path, columns: Sequence[str], advice: str) -> list[dict[str, str]]:
    """Read a table with a heading and at least these columns; ``advice`` says what to do where it is something else.

    Raises UserError: it is not there, is no table, is empty or lacks a column.
    """
    with getting(f"the table {path}", advice), path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise UserError(f"{path} lists no images: {advice}")
    if wide := next((number for number, row in enumerate(rows, start=1) if None in row), None):
        raise UserError(f"row {wide} of {path} has more cells than the heading: put texts with commas into quotes")
    missing = [column for column in columns if rows[0].get(column) is None]
    if missing:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}: {advice}")
    return rows


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a table with a heading, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())
    return path
