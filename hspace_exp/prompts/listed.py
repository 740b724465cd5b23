"""Prompts from a file of one's own, ``prompts.file``: whole prompts, or what stands for ``{profession}`` in templates.

What a file holds is text and nothing else: no path, target or command is read from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hspace_exp.errors import UserError, getting
from hspace_exp.io.digest import digest
from hspace_exp.io.rows import read_rows

MOST_BYTES, LONGEST, LONGEST_GROUP = 2**24, 1000, 100
PROMPT, GROUP, SUBJECT = "prompt", "categories", "profession"  # columns of a table
_ADVICE = f"expected UTF-8, a prompt a line, or a .csv with a column {PROMPT!r} or {SUBJECT!r}"


@dataclass(frozen=True)
class Listed:
    """One row of a file."""

    prompt: str  # the whole prompt; "" where the row is a subject of templates
    group: str  # whose images are counted together: the row's category, else the prompt or the subject itself


def read_prompts(path: str | Path) -> list[Listed]:
    """Rows of a text file (a prompt a line, blank lines aside) or of a table (``.csv``), each once, in their order.

    Of a table the column ``prompt`` is read with ``categories``, where it is there, or else the column ``profession``;
    others are left alone. Runs of spaces count as one. Raises UserError, one line: no file, not UTF-8, larger than 16
    MiB, no prompt in it, one empty, twice, or longer than 1,000 characters, or a broken table.
    """
    path = Path(path).expanduser()
    with getting(f"the prompts of {path}", _ADVICE):
        if not path.is_file():
            raise FileNotFoundError("no such file")
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"larger than {MOST_BYTES} bytes")
        lines = path.read_text("utf-8-sig").splitlines()
    if path.suffix.lower() == ".csv":
        rows = read_rows(path, (), _ADVICE, absent="", what="prompts")
        column = PROMPT if PROMPT in rows[0] else SUBJECT
        if column not in rows[0]:
            raise UserError(f"{path} lacks the column {PROMPT!r} (or {SUBJECT!r}): its columns are {', '.join(rows[0])}")
        found = [(n, row[column], row.get(GROUP, "")) for n, row in enumerate(rows, start=1)]
    else:
        column, found = PROMPT, [(n, line, "") for n, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise UserError(f"{path} lists no prompts: {_ADVICE}")
    seen, used, listed = dict[str, int](), set[str](), list[Listed]()
    for n, cell, category in found:
        text = " ".join(cell.split())
        if not text or len(text) > LONGEST or not text.replace("\u200b", "").isprintable():
            raise UserError(f"row {n} of {path}: expected 1 to {LONGEST} characters that print, got {text[:60]!r}")
        if seen.setdefault(text, n) != n:
            raise UserError(f"rows {seen[text]} and {n} of {path} are the same, {text[:60]!r}: take one out")
        group = _name(category) or _name(text) or f"row {n}"
        group = f"{group} #{n}" if group in used and not _name(category) else group
        used.add(group)
        listed.append(Listed(text if column == PROMPT else "", group))
    return listed


def _name(text: str) -> str:
    """A text as the name of a group."""
    plain = "".join(c if c.isprintable() and c not in "/\\" else " " for c in text)
    return " ".join(plain.split())[:LONGEST_GROUP].strip(" .")


def with_listed(config: dict[str, Any]) -> None:
    """In a resolved configuration, name the groups of ``prompts.file`` as what is measured, and what it holds."""
    prompts, file = config["prompts"], config["prompts"].pop("file", "")
    prompts.pop("listed", "")
    if not file:  # described, and digested, as ever
        return
    rows = read_prompts(file)
    groups = list(dict.fromkeys(row.group for row in rows))
    prompts["professions"] = config["protocol"]["professions"] = groups
    if rows[0].prompt:
        prompts |= {"file": file, "listed": digest([[row.prompt, row.group] for row in rows])}
