"""The main job, ``hspace-exp run``: compose the configuration and run it, or with ``-m`` several."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from hspace_exp.config.command_line import CONF, KNOWN, WRONG, exit_code, importing, one_line
from hspace_exp.config.schema import register
from hspace_exp.errors import unknown
from hspace_exp.results.record import RunRecord
from hspace_exp.sweeps.jobs import FAILED, SweepCallback, let_go_of_ray, run_job, stopped, wait_for_arrays
from hspace_exp.sweeps.summary import conclude

log = logging.getLogger(__name__)

Optimized = float | list[float | None] | None

FAILED_JOBS = 1
HEADLINE = "deviation_ratio"

register()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _job(cfg: DictConfig) -> Optimized:
    with importing():
        from hspace_exp.pipeline.run import run  # imports torch, which composing and --help do without

    here = HydraConfig.get()
    run_dir, sweep = Path(here.runtime.output_dir), SweepCallback.current

    def work() -> Optimized:
        return optimized(run(cfg, run_dir, list(here.overrides.task)), cfg.optimized_metric)

    if sweep is not None:
        return run_job(sweep, cfg, here.job.num, run_dir, work)
    try:
        return work()
    except KNOWN as error:  # here, or Hydra adds a line of its own
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(WRONG)


def optimized(record: RunRecord | None, names: str | Sequence[str] | None) -> Optimized:
    """What sweepers minimise or maximise: the deviation ratio where a record has one, or the metrics that are named.

    Raises UserError: a metric that is named is not in the record.
    """
    wanted = HEADLINE if names is None else names
    if record is None or (names is None and HEADLINE not in record.metrics):
        return None
    several = [wanted] if isinstance(wanted, str) else [*wanted]
    for name in several:
        if name not in record.metrics:
            raise unknown("optimized_metric", name, record.metrics)
    values = [record.metrics[name].value for name in several]
    return values[0] if isinstance(wanted, str) else values


def main(words: Sequence[str] | None = None) -> int:
    """Do what ``words``, by default those of the command line, ask for, in Hydra's grammar.

    Returns the exit code: 1 where jobs of a sweep failed, 2 for wrong input, 130 when interrupted.
    What a launcher itself raises, as when a job's process was killed, ends a sweep with code 1 too.
    """
    given = sys.argv[1:] if words is None else words
    sys.argv[1:] = [f"+{word}" if word.startswith("experiment=") else word for word in given]
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # so that errors arrive here instead of being printed by Hydra
    SweepCallback.current = None
    return exit_code(_jobs)


def _jobs() -> int:
    try:
        try:
            _job()
        except Exception as error:
            sweep = SweepCallback.current
            if sweep is None or not (stopped(error) or any(note.state == FAILED for note in sweep.notes())):
                raise
            wait_for_arrays(sweep.notes())
            _conclude()
            print(f"error: the sweep stopped: {one_line(error)}", file=sys.stderr)
            return FAILED_JOBS
    except KNOWN:
        _conclude()
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
