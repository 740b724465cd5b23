"""Images on several devices: the same command runs beside itself, each process with its share of the chunks.

Images depend on their prompt and seed alone and chunks are fixed, so who makes which decides nothing. The process that
was started by the user makes whatever is missing in the end: a helper that fails costs time only.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from hspace_exp.errors import UserError

log = logging.getLogger(__name__)

SHARE = "HSPACE_EXP_SHARE"
LOGS = ".helpers"
_OWN = ("stages=", "device=", "trainer.devices=", "logger=", "hydra.run.dir=", "hydra/launcher=", "hydra.sweep")


@dataclass(frozen=True)
class Share:
    """Every ``count``-th chunk, from ``index`` on."""

    index: int = 0
    count: int = 1

    @classmethod
    def of_this_process(cls) -> Share | None:
        """The share that a helper was started for; None in the user's own process."""
        text = os.environ.get(SHARE)
        if text is None:
            return None
        index, count = text.split("/")
        return cls(int(index), int(count))

    def takes(self, chunk: int) -> bool:
        """Whether the chunk of this number is in the share."""
        return chunk % self.count == self.index


def check_devices(count: int, device: torch.device) -> None:
    """Refuse more GPUs than there are, or less than one.

    Raises:
        UserError: ``trainer.devices`` cannot be had.
    """
    if count < 1:
        raise UserError(f"expected trainer.devices of at least 1, got {count}")
    if device.type == "cuda" and count > torch.cuda.device_count():
        raise UserError(f"trainer.devices={count}, but {torch.cuda.device_count()} GPUs are visible")
    if device.type == "cuda" and count > 1 and device.index not in (None, 0):
        raise UserError(f"trainer.devices={count} starts from the first GPU: leave device={device} out")


@contextmanager
def helpers(overrides: Sequence[str], run_dir: Path, count: int, device: torch.device) -> Iterator[None]:
    """Run the stage ``generation`` of the same command in ``count`` - 1 more processes while the context is open.

    Args:
        overrides: of the command line.
        run_dir: of the run.
        count: processes, this one included.
        device: of this process; helper k gets GPU k, or the CPU.
    """
    own = [one for one in overrides if not one.lstrip("+~").startswith(_OWN)]
    logs = run_dir / LOGS
    logs.mkdir(parents=True, exist_ok=True)
    started: list[tuple[int, subprocess.Popen[bytes]]] = []
    try:
        for k in range(1, count):
            place = f"cuda:{k}" if device.type == "cuda" else str(device)
            fixed = ["stages=[generation]", f"device={place}", "trainer.devices=1", "logger=none"]
            fixed += [f"hydra.run.dir='{run_dir.resolve()}'", "hydra.output_subdir=null"]
            with (logs / f"{k}.log").open("wb") as file:
                command = [sys.executable, "-m", "hspace_exp", *own, *fixed]
                environment = {**os.environ, SHARE: f"{k}/{count}"}
                started.append((k, subprocess.Popen(command, stdout=file, stderr=file, env=environment)))
        yield
        for k, process in started:
            if process.wait() != 0:
                log.warning("helper %d failed (%s): its images are made here", k, logs / f"{k}.log")
    finally:
        for _, process in started:
            if process.poll() is None:
                process.terminate()
                process.wait()
