"""The end of a sweep: a table of its runs, and which jobs failed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hspace_exp.config.command_line import stop_printing
from hspace_exp.errors import UserError
from hspace_exp.io.atomic import write_text
from hspace_exp.results.record import FILE_NAME
from hspace_exp.sweeps.ledger import DONE, FAILED, RUNNING, Note, Sweep
from hspace_exp.sweeps.wandb_summary import log_summaries

SUMMARY = "summary.md"
LOST = "stopped before its end: its process, or another of the launcher, was killed, perhaps for memory"


def conclude(sweep: Sweep, interrupted: bool = False) -> bool:
    """Print a sweep's tables and name its failed jobs; whether there are none.

    Args:
        sweep: whose jobs have ended; its notes are removed.
        interrupted: by the user, so that jobs without an end are no failures and there is no table yet.
    """
    notes = [_ended(note) if not interrupted else note for note in sweep.notes()]
    sweep.clear()
    if not interrupted:
        try:
            print(*write_summaries(sweep.results, notes), sep="\n", end="", flush=True)
        except BrokenPipeError:
            stop_printing()
        log_summaries(sweep, notes)
    failed = [note for note in notes if note.state == FAILED]
    if failed:
        print(f"{len(failed)} of {len(notes)} jobs failed:", file=sys.stderr)
        for note in failed:
            print(f"  {note.name}: {note.error}", file=sys.stderr)
        if not interrupted:
            print("the same command makes only what is missing", file=sys.stderr)
    return not failed


def _ended(note: Note) -> Note:
    return replace(note, state=FAILED, error=LOST) if note.state == RUNNING else note


def write_summaries(results: Path, notes: Sequence[Note]) -> list[str]:
    """Write ``summary.md`` of each experiment, from the records of its jobs; returns what to print."""
    from hspace_exp.results.tables.build import build  # imports scipy, which composing and --help do without
    from hspace_exp.results.tables.formats import render

    texts = []
    for experiment in dict.fromkeys(note.experiment for note in notes):
        mine = [note for note in notes if note.experiment == experiment]
        done = [Path(note.folder) for note in mine if note.state == DONE]
        failed = [f"- Missing: {note.name} failed ({note.error})\n" for note in mine if note.state == FAILED]
        records = [folder for folder in done if (folder / FILE_NAME).exists()]  # not where evaluation was not asked for
        if not records:
            continue
        path = results / experiment / SUMMARY
        try:
            table = render(build(records), "markdown") + "".join(failed)
            write_text(path, table)
        except (UserError, OSError) as error:
            print(f"no table of {experiment}: {error}", file=sys.stderr)
            continue
        texts.append(f"{os.path.relpath(path)}\n{table}")
    return texts
