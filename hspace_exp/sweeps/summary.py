"""The end of a sweep: a table of its runs, which jobs failed, and the same at Weights & Biases."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import OmegaConf

from hspace_exp.config.command_line import stop_printing
from hspace_exp.errors import UserError
from hspace_exp.io.atomic import write_text
from hspace_exp.io.rows import markdown
from hspace_exp.results.record import FILE_NAME, read_record
from hspace_exp.sweeps.jobs import DONE, FAILED, RUNNING, Note, Sweep

JOB_TYPE = "summary"
LOST = "stopped before its end: its process, or another of the launcher, was killed, perhaps for memory"
_WANDB = "hspace_exp.results.loggers.wandb_logger"


def conclude(sweep: Sweep, interrupted: bool = False) -> bool:
    """Print the tables of a sweep that has ended, name its failed jobs and remove its notes; whether none failed.

    Where the user ``interrupted`` it, jobs without an end are no failures and there is no table yet.
    """
    notes = sweep.notes()
    sweep.clear()
    if not interrupted:
        notes = [replace(note, state=FAILED, error=LOST) if note.state == RUNNING else note for note in notes]
        texts = []
        for experiment in dict.fromkeys(note.experiment for note in notes):
            mine = [note for note in notes if note.experiment == experiment]
            texts.append(write_summary(sweep.results, experiment, mine))
            _log_to_wandb(sweep, experiment, mine)
        try:
            print(*filter(None, texts), sep="\n", end="", flush=True)
        except BrokenPipeError:
            stop_printing()
    failed = [note for note in notes if note.state == FAILED]
    if failed:
        print(f"{len(failed)} of {len(notes)} jobs failed:", file=sys.stderr)
        for note in failed:
            print(f"  {note.name}: {note.error}", file=sys.stderr)
        if not interrupted:
            print("the same command makes only what is missing", file=sys.stderr)
    return not failed


def write_summary(results: Path, experiment: str, notes: Sequence[Note]) -> str:
    """Write ``summary.md`` of an experiment, from the records of its jobs; returns what to print."""
    from hspace_exp.results.tables.build import build  # which composing and --help do without
    from hspace_exp.results.tables.formats import render

    done, path = _with_records(notes), results / experiment / "summary.md"
    if not done:
        return ""
    lines = (markdown(f"{note.name} failed ({note.error})") for note in notes if note.state == FAILED)
    failed = [f"- Missing: {line}\n" for line in lines]
    try:
        table = render(build([Path(note.folder) for note in done]), "markdown") + "".join(failed)
        write_text(path, table)
    except (UserError, OSError) as error:
        print(f"no table of {experiment}: {error}", file=sys.stderr)
        return ""
    return f"{os.path.relpath(path)}\n{table}"


def _with_records(notes: Sequence[Note]) -> list[Note]:
    """Jobs that ended well and were asked for an evaluation."""
    return [note for note in notes if note.state == DONE and (Path(note.folder) / FILE_NAME).exists()]


def _log_to_wandb(sweep: Sweep, experiment: str, notes: Sequence[Note]) -> None:
    """One more run of the group, with the table of them all and their grids; a failure is told, not raised."""
    configs = [(note, Path(note.folder) / ".hydra" / "config.yaml") for note in _with_records(notes)]
    loggers = [(note, OmegaConf.select(OmegaConf.load(path), "logger")) for note, path in configs if path.is_file()]
    logged = [(note, logger) for note, logger in loggers if logger is not None and logger.get("_target_") == _WANDB]
    if not logged:
        return
    import wandb

    from hspace_exp.results.loggers import log_files, wandb_run

    settings = logged[0][1]
    group, folder = settings.get("group") or sweep.group(experiment), sweep.results / experiment
    records = {note.name: read_record(note.folder) for note, _ in logged}
    metrics = sorted({metric for record in records.values() for metric in record.metrics})
    rows = [
        [name, record.method, record.seed, *(getattr(record.metrics.get(m), "value", None) for m in metrics)]
        for name, record in records.items()
    ]
    grids = [(Path(note.folder) / "grid.png", note.name) for note, _ in logged]
    try:
        about = {"project": settings.project, "group": group, "job_type": JOB_TYPE}
        run = wandb_run(folder, f"{group}/{JOB_TYPE}", settings.mode, **about)
        if run is None:
            return
        images = [wandb.Image(str(path), caption=name) for path, name in grids if path.is_file()]
        run.log({"summary": wandb.Table(columns=["run", "method", "seed", *metrics], data=rows), "grids": images})
        log_files(run, {"": folder, **{f"{note.name}/": Path(note.folder) for note, _ in logged}})
        run.finish()
    except (wandb.Error, UserError, OSError) as error:
        print(f"no summary of {experiment} at Weights & Biases: {' '.join(str(error).split())}", file=sys.stderr)
