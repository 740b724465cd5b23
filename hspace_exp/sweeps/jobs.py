"""One job of a sweep: it fails alone, has a GPU where there are several, and may outlive its launcher on Slurm."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hspace_exp.config.command_line import KNOWN, one_line
from hspace_exp.io.locks import lock
from hspace_exp.sweeps.ledger import DONE, FAILED, Note, Sweep

log = logging.getLogger(__name__)

_ARRAY = "SLURM_ARRAY_JOB_ID"
_PAUSE_S = 10.0  # Slurm's controller is shared

# Locks of devices, which last as long as this process, however that ends; its jobs follow each other on one.
_held: dict[Path, Callable[[], None]] = {}


def run_job(sweep: Sweep, cfg: DictConfig, number: int, run_dir: Path, work: Callable[[], Any]) -> None:
    """Do a job and note how it went; an error is told and noted, not raised.

    Args:
        sweep: it belongs to.
        cfg: of the job; gets the sweep's group where its logger has one, and where several GPUs are seen, one of them.
        number: of the job.
        run_dir: of its results.
        work: what is done.
    """
    name = run_dir.relative_to(sweep.results) if run_dir.is_relative_to(sweep.results) else run_dir
    note = Note(number, str(name), str(cfg.name), str(run_dir), array=os.environ.get(_ARRAY, ""))
    sweep.write(note)
    try:
        if "group" in cfg.logger and cfg.logger.group is None:
            cfg.logger.group = sweep.group(cfg.name)
        _choose_device(sweep, cfg, number)
        work()
    except KNOWN as error:
        note = replace(note, state=FAILED, error=one_line(error))
        log.error("%s failed: %s", note.name, note.error)
    except Exception as error:  # whatever it is: it is told by name, and the other jobs go on
        note = replace(note, state=FAILED, error=" ".join(f"{type(error).__name__}: {error}".split()))
        log.exception("%s failed", note.name)
    else:
        note = replace(note, state=DONE)
    sweep.write(note)


def _choose_device(sweep: Sweep, cfg: DictConfig, number: int) -> None:
    """Take a GPU where the configuration leaves it open; a job that spreads over several starts from the first."""
    if cfg.device != "auto" or (OmegaConf.select(cfg, "trainer.devices") or 1) > 1:
        return
    import torch  # late: composing does without

    count = torch.cuda.device_count()
    if count > 1:
        cfg.device = f"cuda:{take_device(sweep.folder, count, number)}"
        log.info("on %s of %d", cfg.device, count)


def take_device(folder: Path, count: int, number: int) -> int:
    """Index of the device that this process has to itself, as far as there are enough.

    Args:
        folder: of the sweep, for lock files.
        count: devices that this process sees.
        number: of the job; where all devices are taken, it decides which is shared.
    """
    for index in range(count):
        path = folder / f"{platform.node()}-device{index}.lock"
        if path in _held:
            return index
        release = lock(path)
        if release is not None:
            _held[path] = release
            return index
    return number % count


def stopped(error: Exception) -> bool:
    """Whether an error is a launcher's, as when a job's process was killed."""
    return isinstance(error, RuntimeError) or type(error).__module__.split(".")[0] == "ray"


def let_go_of_ray() -> None:
    """Stop Ray, if it runs the jobs: what they wrote and is still on its way arrives before what comes next."""
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


def wait_for_arrays(notes: Sequence[Note], pause: float = _PAUSE_S) -> None:
    """Wait for what Slurm still has after its launcher gave up, which it does at the first job that was killed.

    Args:
        notes: of the sweep's jobs; those of this process's own array are not waited for.
        pause: seconds between looks.
    """
    for array in sorted({note.array for note in notes} - {"", os.environ.get(_ARRAY, "")}):
        log.warning("a job was killed; waiting for the others of Slurm's job %s", array)
        command = ["squeue", "--noheader", "--jobs", array]  # lists none, or fails, minutes after their end
        while subprocess.run(command, capture_output=True, check=False).stdout.strip():
            time.sleep(pause)
