"""The main job, ``hspace-exp run``: compose the configuration and run it, or with ``-m`` several."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from hspace_exp.config.checks import plain_config
from hspace_exp.config.command_line import CONF, KNOWN, WRONG, exit_code, importing, one_line, quoted, uncomposed
from hspace_exp.config.schema import register
from hspace_exp.errors import UserError, unknown
from hspace_exp.results.record import RunRecord, done
from hspace_exp.sweeps.jobs import FAILED, SweepCallback, let_go_of_ray, run_job, stopped, take_back, wait_for_arrays
from hspace_exp.sweeps.summary import conclude

log = logging.getLogger(__name__)

Optimized = float | list[float | None] | None

FAILED_JOBS = 1

register()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _job(cfg: DictConfig) -> Optimized:
    here = HydraConfig.get()
    run_dir, sweep = Path(here.runtime.output_dir), SweepCallback.current

    def work() -> Optimized:
        record = done(run_dir, plain_config(cfg))
        if record is not None:
            log.info("%s is done already: nothing to do", run_dir)
            return optimized(record, cfg.optimized_metric)
        with importing():
            from hspace_exp.pipeline.run import run  # imports torch, which all else does without

        return optimized(run(cfg, run_dir, list(here.overrides.task)), cfg.optimized_metric)

    if sweep is not None:
        return run_job(sweep, cfg, here.job.num, run_dir, work)
    try:
        return work()
    except KNOWN as error:  # here, or Hydra adds a line of its own
        print(f"error: {one_line(error)}", file=sys.stderr)
        take_back()
        sys.exit(WRONG)


def optimized(record: RunRecord | None, names: str | Sequence[str]) -> Optimized:
    """What sweepers get: a metric of the record, None where it has none, or a list of them.

    Raises UserError: a metric has no such name.
    """
    metrics = {} if record is None else {name: metric.value for name, metric in record.metrics.items()}
    several = [names] if isinstance(names, str) else [*names]
    for name in several:
        if metrics and name not in (*metrics, "deviation_ratio"):  # which only concepts of one value lack
            raise unknown("optimized_metric", name, metrics)
    values = [metrics.get(name) for name in several]
    return values[0] if isinstance(names, str) else values


def main(words: Sequence[str] | None = None) -> int:
    """Do what ``words``, by default those of the command line, ask for, in Hydra's grammar.

    Returns the exit code: 1 where jobs of a sweep failed, 2 for wrong input, 130 when interrupted.
    What a launcher itself raises, as when a job's process was killed, ends a sweep with code 1 too.
    """
    given = sys.argv[1:] if words is None else list(words)
    swept = not {"-m", "--multirun"}.isdisjoint(given)
    given.sort(key=lambda word: word not in ("-m", "--multirun"))  # first, as Hydra takes overrides in one piece
    sys.argv[1:] = [f"+{word}" if word.startswith("experiment=") else quoted(word, swept) for word in given]
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # so that errors arrive here instead of being printed by Hydra
    SweepCallback.current, SweepCallback.began, SweepCallback.missing = None, False, ()
    return exit_code(_jobs)


def _refuse(message: str) -> None:
    raise UserError(f"{message}; flags are of Hydra, see --help")


def _jobs() -> int:
    try:
        parser: Any = get_args_parser()
        parser.error = _refuse  # in one line
        parser.parse_args(sys.argv[1:])
        try:
            _job()
        except Exception as error:
            sweep = SweepCallback.current
            composing = not SweepCallback.began or (sweep is not None and not sweep.notes() and not stopped(error))
            if composing and not isinstance(error, KNOWN):
                raise uncomposed(error, sys.argv[1:]) from error
            if sweep is None or not (stopped(error) or any(note.state == FAILED for note in sweep.notes())):
                raise
            wait_for_arrays(sweep.notes())
            _conclude()
            print(f"error: the sweep stopped: {one_line(error)}", file=sys.stderr)
            return FAILED_JOBS
    except KNOWN as error:
        if isinstance(error, OSError) and error.errno and not error.filename:  # of Hydra's own files
            error.filename = SweepCallback.place
        if SweepCallback.current is None or not SweepCallback.current.notes():
            take_back()
        _conclude()
        raise
    except ValueError as error:
        if isinstance(error.__cause__, OSError):  # run.log cannot be written
            raise OSError(*error.__cause__.args, error.__cause__.filename) from error
        raise
    except KeyboardInterrupt:
        _conclude(interrupted=True)
        raise
    return 0 if _conclude() else FAILED_JOBS


def _conclude(interrupted: bool = False) -> bool:
    """Report on the sweep, if this is one; whether all jobs are done."""
    let_go_of_ray()
    sweep = SweepCallback.current
    return sweep is None or conclude(sweep, interrupted)
