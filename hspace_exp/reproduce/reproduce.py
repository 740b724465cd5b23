"""``hspace-exp reproduce``: make the runs that tables need, then tables and figures from their records."""

from __future__ import annotations

import _thread
import math
import os
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

from hspace_exp.config.command_line import INTERRUPTED
from hspace_exp.errors import UserError
from hspace_exp.io.locks import cores
from hspace_exp.reproduce.runs import Planned, overrides_of, planned, sweeps

FAILED, LEFT = 1, 75  # exit codes

Sweeps = list[tuple[list[str], list[Planned]]]


def reproduce(**given: Any) -> int:
    """Make runs and tables, with the options of the command; returns the exit code."""
    options = SimpleNamespace(**given)
    started = time.monotonic()
    found = _planned(options)
    runs = list({run.folder: run for _, some in found for run in some}.values())
    print(f"{len(runs)} runs, {sum(run.done for run in runs)} of them done", flush=True)
    if options.list_only:
        for overrides, some in found:
            print(f"{sum(run.done for run in some)} of {len(some)} done: hspace-exp run -m {' '.join(overrides)}")
        return 0
    in_time = options.tables_only or _run(found, options.jobs, options.max_seconds)
    done = [run for run in runs if run.done]
    if done:
        from hspace_exp.results.write import copy_records, write_tables

        folder, results = options.out / options.protocol / options.model, [run.result for run in done if run.result]
        written = write_tables(results, folder)
        if options.records:
            copy_records(results, options.records)
        print(f"{len(written)} files of tables and figures in {folder}")
    print(f"{len(done)} of {len(runs)} runs are done, after {time.monotonic() - started:.0f} s")
    if options.tables_only or len(done) == len(runs):
        return 0
    if not in_time:
        return LEFT
    for run in runs:
        if run not in done:
            print(f"failed: {run.name}: see {run.folder / 'run.log'}", file=sys.stderr)
    return FAILED


def _planned(options: SimpleNamespace) -> Sweeps:
    """Each sweep's overrides and runs."""
    methods = tuple(filter(None, options.methods.split(",")))
    experiments = tuple(filter(None, options.experiments.split(",")))
    chosen = sweeps(options.protocol, options.model, experiments)
    asked = [overrides_of(sweep, options.protocol, options.model, methods, options.overrides or ()) for sweep in chosen]
    found = [(overrides, planned(overrides)) for overrides in asked if overrides]
    if not found:
        raise UserError(f"no run is left with methods {', '.join(methods)}: name others")
    return found


def _run(found: Sweeps, jobs: int, max_seconds: float) -> bool:
    """Make what is not done, by Hydra's multirun, one sweep after another; whether that ended before time was up."""
    from hspace_exp.job import main as multirun

    launcher = []
    if jobs > 1:
        launcher = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}"]
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // jobs)))
    deadline = time.monotonic() + (max_seconds or math.inf)
    timer = threading.Timer(max_seconds or threading.TIMEOUT_MAX, _thread.interrupt_main)
    timer.daemon = True
    timer.start()
    given = sys.argv
    try:
        for overrides, runs in found:
            if not all(run.done for run in runs):
                sys.argv = [given[0], "-m", *overrides, *launcher]
                if multirun() == INTERRUPTED:
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        if time.monotonic() < deadline:
            raise
        return False
    finally:
        sys.argv = given
        timer.cancel()
    return True
