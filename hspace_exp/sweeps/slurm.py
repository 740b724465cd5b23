"""Jobs that Slurm still has after their launcher gave up, which it does at the first one that was killed."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Sequence

from hspace_exp.sweeps.ledger import Note

log = logging.getLogger(__name__)

_VARIABLE = "SLURM_ARRAY_JOB_ID"
_PAUSE = 10.0  # seconds; the controller is shared


def array_here() -> str:
    """The job array that this process belongs to, or nothing."""
    return os.environ.get(_VARIABLE, "")


def wait_for_arrays(notes: Sequence[Note], pause: float = _PAUSE) -> None:
    """Wait until no job of the sweep waits or runs.

    Args:
        notes: of its jobs; those of this process's own array are not waited for.
        pause: seconds between looks.
    """
    for array in sorted({note.array for note in notes} - {"", array_here()}):
        log.warning("a job was killed; waiting for the others of Slurm's job %s", array)
        while _has(array):
            time.sleep(pause)


def _has(array: str) -> bool:
    """Whether Slurm lists any job of an array; it forgets them minutes after their end."""
    command = ["squeue", "--noheader", "--jobs", array]
    return bool(subprocess.run(command, capture_output=True, check=False).stdout.strip())
