"""``python -m hspace_exp reproduce``: make the runs that tables need, then tables and figures from their records."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hspace_exp.config.command_line import KNOWN, one_line
from hspace_exp.errors import UserError
from hspace_exp.io.cores import cores
from hspace_exp.reproduce.lists import LISTS, sweeps
from hspace_exp.reproduce.pool import VISIBLE, work
from hspace_exp.reproduce.runs import Planned, planned

FAILED, WRONG, LEFT, INTERRUPTED = 1, 2, 75, 130
EPILOG = """
Further arguments are overrides that every run gets, e.g. protocol.image_seed=1 or paths.cache=/tmp/cache.
Runs that are done are skipped, so the same command goes on where it was stopped. Exit codes: 1 where a run failed, 2
for wrong input, 75 where time was up before all was done.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _reproduce(options)
    except KNOWN as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        return INTERRUPTED


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
    add("--jobs", type=int, default=1, metavar="N", help="runs side by side, over all GPUs (default: 1)")
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
    runs = _runs(options)
    left = [run for run in runs if not run.done]
    print(f"{len(runs)} runs, {len(runs) - len(left)} of them done", flush=True)
    if options.list:
        for run in runs:
            print(f"{'done' if run not in left else 'to do'}: python -m hspace_exp {' '.join(run.overrides)}")
        return 0
    failed = {} if options.tables_only else _work(left, options.jobs, options.max_seconds, started)
    done = [run for run in runs if run.done]
    if done:
        from hspace_exp.reproduce.output import copy_records, write_tables

        folder, sources = options.out / options.protocol / options.model, [run.folder for run in done]
        written = write_tables(sources, folder)
        if options.records:
            copy_records(sources, options.records)
        print(f"{len(written)} files of tables and figures in {folder}")
    print(f"{len(done)} of {len(runs)} runs are done, after {time.monotonic() - started:.0f} s")
    for name, error in failed.items():
        print(f"failed: {name}: {error}", file=sys.stderr)
    return FAILED if failed else 0 if len(done) == len(runs) or options.tables_only else LEFT


def _runs(options: argparse.Namespace) -> list[Planned]:
    methods = tuple(filter(None, options.methods.split(",")))
    experiments = tuple(filter(None, options.experiments.split(",")))
    found: dict[Path, Planned] = {}
    for sweep in sweeps(options.protocol, options.model, experiments):
        for run in planned(sweep, options.protocol, options.model, methods, options.overrides):
            found.setdefault(run.folder, run)
    if not found:
        raise UserError(f"no run is left with methods {', '.join(methods)}: name others")
    return list(found.values())


def _work(left: Sequence[Planned], jobs: int, max_seconds: float, started: float) -> dict[str, str]:
    """Make runs and tell of each; returns the errors of those that failed."""
    from hspace_exp.reproduce.shared import tasks_of

    failed: dict[str, str] = {}
    if jobs > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // jobs)))
    with tempfile.TemporaryDirectory(prefix="hspace_exp_") as scratch:
        tasks = tasks_of(left, Path(scratch), side_by_side=jobs > 1)
        budget = max(1.0, max_seconds - (time.monotonic() - started)) if max_seconds else 0
        for i, done in enumerate(work(tasks, jobs, budget, gpus() if jobs > 1 else ()), start=1):
            state = f"failed: {done.error}; see {done.task.log}" if done.error else f"{done.seconds:.0f} s"
            print(f"[{i}/{len(tasks)}] {done.task.name}: {state}", flush=True)
            if done.error and not done.task.makes:
                failed[done.task.name] = done.error
    return failed


def gpus() -> list[str]:
    """The GPUs that are seen, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch  # late: --help does without

    named = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return named or [str(k) for k in range(torch.cuda.device_count())]


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    sys.exit(main())
