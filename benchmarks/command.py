"""Commands: as results quote them, and the project's own as a user starts it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path, PurePath

ROOT = Path(__file__).resolve().parents[1]


def command(module: str, words: Sequence[str]) -> str:
    """``python -m module words``, without where one machine keeps its files: ``--out`` is under benchmarks/results."""
    plain = [_result(word) if before == "--out" else word for before, word in pairwise(["", *words])]
    return shlex.join(["python", "-m", module, *plain])


def _result(path: str) -> str:
    return f"benchmarks/results/{PurePath(path).name}"


def environment(**more: str) -> dict[str, str]:
    """Variables of a command that runs this checkout, and finds the byte code of modules that were imported before.

    pip writes byte code when it installs, and Python when it first imports. Where ``PYTHONDONTWRITEBYTECODE`` is set,
    as in many containers, each start compiles every module anew.
    """
    own = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "hspace_exp_bytecode"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    return {**os.environ, **own, **more}


def timed_job(overrides: Sequence[str], timeout: float, **more: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Seconds of a gender experiment's whole command, start of Python included, and how it ended."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "hspace_exp", "+experiment=gender_fairness", "logger=none", *overrides],
        cwd=ROOT,
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    return time.perf_counter() - started, done
