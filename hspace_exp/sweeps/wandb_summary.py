"""A sweep at Weights & Biases: beside its runs one more of their group, with the table of them all and their grids."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hspace_exp.results.record import FILE_NAME, RunRecord, read_record
from hspace_exp.sweeps.ledger import DONE, Note, Sweep

JOB_TYPE = "summary"
_LOGGER = "hspace_exp.results.loggers.wandb_logger"


def log_summaries(sweep: Sweep, notes: Sequence[Note]) -> None:
    """Log a summary of each experiment whose jobs went to Weights & Biases; where that fails, say so and go on."""
    for experiment in dict.fromkeys(note.experiment for note in notes):
        done = [note for note in notes if note.experiment == experiment and note.state == DONE]
        done = [note for note in done if (Path(note.folder) / FILE_NAME).exists() and _settings(note) is not None]
        if done:
            _log(sweep, experiment, done)


def columns_and_rows(named: Sequence[tuple[str, RunRecord]]) -> tuple[list[str], list[list[Any]]]:
    """A table of runs: name, method, seed, and every metric that any of them has; None where it has no value."""
    metrics = sorted({metric for _, record in named for metric in record.metrics})
    rows = [
        [name, record.method, record.seed, *(getattr(record.metrics.get(m), "value", None) for m in metrics)]
        for name, record in named
    ]
    return ["run", "method", "seed", *metrics], rows


def _settings(note: Note) -> Any:
    """The logger of a job's configuration, if it is this one; else None."""
    path = Path(note.folder) / ".hydra" / "config.yaml"
    if not path.is_file():
        return None
    logger = OmegaConf.select(OmegaConf.load(path), "logger")
    return logger if logger is not None and logger.get("_target_") == _LOGGER else None


def _log(sweep: Sweep, experiment: str, done: Sequence[Note]) -> None:
    import wandb

    from hspace_exp.results.loggers import wandb_run

    settings = _settings(done[0])
    group, folder = settings.get("group") or sweep.group(experiment), sweep.results / experiment
    columns, rows = columns_and_rows([(note.name, read_record(note.folder)) for note in done])
    grids = [(Path(note.folder) / "grid.png", note.name) for note in done]
    try:
        run = wandb_run(folder, f"{group}/{JOB_TYPE}", settings.project, settings.mode, group, JOB_TYPE)
        images = [wandb.Image(str(path), caption=name) for path, name in grids if path.is_file()]
        run.log({"summary": wandb.Table(columns=[*columns], data=rows), "grids": images})
        run.finish()
    except (wandb.Error, OSError) as error:
        print(f"no summary of {experiment} at Weights & Biases: {' '.join(str(error).split())}", file=sys.stderr)
