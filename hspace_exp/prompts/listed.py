"""Prompts from a file of one's own, ``prompts.file``. What it holds is text: no path, target or command is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hspace_exp.errors import UserError, getting
from hspace_exp.io.digest import digest
from hspace_exp.io.rows import read_rows

MOST_BYTES, LONGEST, LONGEST_GROUP = 2**24, 1000, 100
_ADVICE = "expected UTF-8, a prompt a line, or a .csv with a column 'prompt' or 'profession'"


def read_prompts(path: str | Path) -> tuple[dict[str, str], bool]:
    """Texts, in their order, with the group that each one's images count to, and whether they are whole prompts.

    Of a ``.csv`` the column ``prompt`` is read, or else ``profession``, whose texts are for templates, with a group in
    ``categories``; without one each text is a group. Any other file has a prompt a line. Raises UserError: no file, not
    UTF-8, above 16 MiB, no prompt, one twice or above 1,000 characters, or a broken table.
    """
    path = Path(path).expanduser()
    with getting(f"the prompts of {path}", _ADVICE):
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise OSError(f"larger than {MOST_BYTES} bytes" if path.is_file() else "no such file")
        rows = [{"prompt": line} for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    if path.suffix.lower() == ".csv":
        rows = read_rows(path, (), _ADVICE, absent="", what="prompts")
    column = next((name for name in ("prompt", "profession") if rows and name in rows[0]), "")
    if not column:
        raise UserError(f"{path} lists no prompts: {_ADVICE}")
    found = dict[str, str]()
    for n, row in enumerate(rows, start=1):
        text = " ".join(row[column].split())
        if not 0 < len(text) <= LONGEST or min(text) < " " or text in found:
            wrong = "one that is there already" if text in found else f"not 1 to {LONGEST} characters of text"
            raise UserError(f"prompt {n} of {path} is {wrong}, {text[:60]!r}: correct it, or take it out")
        found[text] = _name(row.get("categories", "")) or _name(text) or f"prompt {n}"
    return found, column == "prompt"


def _name(text: str) -> str:
    """A text as the name of a group."""
    return " ".join(re.sub(r"[/\\]|[^ -~\w]", " ", text).split())[:LONGEST_GROUP].strip(" .")


def with_listed(config: dict[str, Any]) -> None:
    """In a resolved configuration, make the groups of ``prompts.file`` what is measured, and tell its content."""
    prompts, file = config["prompts"], config["prompts"].pop("file", "")
    prompts.pop("listed", "")  # without a file all is described, and digested, as ever
    if file:
        groups, whole = read_prompts(file)
        prompts["professions"] = config["protocol"]["professions"] = list(dict.fromkeys(groups.values()))
        prompts |= {"file": file, "listed": digest(list(groups.items()))} if whole else {}
