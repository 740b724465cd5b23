"""One job of a sweep: whatever happens to it, the others go on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hspace_exp.config.command_line import KNOWN, one_line
from hspace_exp.sweeps.device import claim
from hspace_exp.sweeps.ledger import DONE, FAILED, Note, Sweep
from hspace_exp.sweeps.slurm import array_here

log = logging.getLogger(__name__)


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
    note = Note(number, str(name), str(cfg.name), str(run_dir), array=array_here())
    sweep.write(note)
    try:
        if "group" in cfg.logger and cfg.logger.group is None:
            cfg.logger.group = sweep.group(cfg.name)
        _settle(sweep, cfg, number)
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


def _settle(sweep: Sweep, cfg: DictConfig, number: int) -> None:
    """Choose a GPU where the configuration leaves it open; a job that spreads over several starts from the first."""
    if cfg.device != "auto" or (OmegaConf.select(cfg, "trainer.devices") or 1) > 1:
        return
    import torch  # late: composing does without

    count = torch.cuda.device_count()
    if count > 1:
        cfg.device = f"cuda:{claim(sweep.folder, count, number)}"
        log.info("on %s of %d", cfg.device, count)
