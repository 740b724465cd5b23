"""``python -m hspace_exp reproduce``: make the runs that tables need, then tables and figures from their records."""

from __future__ import annotations

import _thread
import argparse
import math
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from hspace_exp.config.command_line import INTERRUPTED, exit_code
from hspace_exp.errors import UserError
from hspace_exp.io.locks import cores
from hspace_exp.reproduce.runs import LISTS, Planned, overrides_of, planned, sweeps

FAILED, LEFT = 1, 75
EPILOG = """
Further arguments are overrides that every run gets, e.g. protocol.image_seed=1 or paths.cache=/tmp/cache.
Runs that are done are skipped, so the same command goes on where it was stopped. Exit codes: 1 where a run failed, 2
for wrong input, 75 where time was up before all was done.
"""

Sweeps = list[tuple[list[str], list[Planned]]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    return exit_code(lambda: _reproduce(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hspace_exp reproduce",
        description="Make the runs that tables need, then tables and figures from their records.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--protocol", default="demo", help=f"one of {', '.join(LISTS)} (default: demo)")
    add("--model", default="avatars", help="choice of conf/model (default: avatars, the embedded one)")
    add("--experiments", default="", metavar="A,B", help="only these")
    add("--methods", default="", metavar="A,B", help="only these, where an experiment compares methods")
    add("--jobs", type=int, default=1, metavar="N", help="runs of a sweep side by side, over all GPUs (default: 1)")
    add("--max-seconds", type=float, default=0, metavar="S", help="stop after this time; the tables come then, too")
    add("--out", type=Path, default=Path("tables"), metavar="FOLDER", help="of tables (default: tables)")
    add("--list", action="store_true", help="only say what would run, and what is done")
    add("--tables-only", action="store_true", help="run nothing: tables of what is done")
    kept = "also copy the runs' records to FOLDER/<experiment>/results, to be kept with the code (e.g. experiments)"
    add("--records", type=Path, metavar="FOLDER", help=kept)
    add("overrides", nargs="*", metavar="OVERRIDE", help="key=value, for every run")
    return parser


def _reproduce(options: argparse.Namespace) -> int:
    started = time.monotonic()
    if options.jobs < 1 or options.max_seconds < 0:
        given = f"{options.jobs} and {options.max_seconds:g}"
        raise UserError(f"expected --jobs of at least 1 and --max-seconds of at least 0, got {given}")
    found = _planned(options)
    runs = list({run.folder: run for _, some in found for run in some}.values())
    print(f"{len(runs)} runs, {sum(run.done for run in runs)} of them done", flush=True)
    if options.list:
        for overrides, some in found:
            print(f"{sum(run.done for run in some)} of {len(some)} done: python -m hspace_exp -m {' '.join(overrides)}")
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


def _planned(options: argparse.Namespace) -> Sweeps:
    """Each sweep's overrides and runs."""
    methods = tuple(filter(None, options.methods.split(",")))
    experiments = tuple(filter(None, options.experiments.split(",")))
    chosen = sweeps(options.protocol, options.model, experiments)
    asked = [overrides_of(sweep, options.protocol, options.model, methods, options.overrides) for sweep in chosen]
    found = [(overrides, planned(overrides)) for overrides in asked if overrides]
    if not found:
        raise UserError(f"no run is left with methods {', '.join(methods)}: name others")
    return found


def _run(found: Sweeps, jobs: int, max_seconds: float) -> bool:
    """Make what is not done, by Hydra's multirun, one sweep after another; whether that ended before time was up."""
    from hspace_exp.__main__ import main as multirun

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


if __name__ == "__main__":
    sys.exit(main())
