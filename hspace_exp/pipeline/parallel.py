"""Several devices: the same command runs beside itself, each process on a device of its own and told what to do next.

The helpers start with the run, so that they have loaded everything when there is work for them. The process that the
user started writes their orders to their standard input, whose end is theirs, too; what they have done they mark by
files. It makes whatever is missing in the end: a helper that fails costs time only.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch

from hspace_exp.errors import UserError
from hspace_exp.io.claims import Claims
from hspace_exp.io.cores import cores
from hspace_exp.pipeline.seat import FOLDER, SEAT, mark_of

log = logging.getLogger(__name__)

# Seconds that a helper may be silent when all others are done; then it counts as failed.
PATIENCE = 600.0
_GRACE = 10.0
_BETWEEN_LOOKS = 0.02
_OWN = ("device=", "trainer.devices=", "logger=", "logger.", "hydra.run.dir=", "hydra/launcher=", "hydra.sweep")


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


@dataclass
class Helpers:
    """The other processes of a run, seen from the one that the user started.

    Attributes:
        folder: of their logs, marks and claims.
        processes: running or ended, by number, from 1 on.
    """

    folder: Path
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    _orders: int = 0

    def __len__(self) -> int:
        """Number of helpers that have not been given up."""
        return len(self.processes)

    def order(self, what: str) -> int:
        """Tell all helpers what to do next; returns the number of the order."""
        self._orders += 1
        for process in self.processes.values():
            if process.stdin is not None:
                with suppress(BrokenPipeError):  # it has ended, which is noticed where it is waited for
                    process.stdin.write(f"{self._orders} {what}\n".encode())
        return self._orders

    def wait(self, order: int, mark: str = "done", *, also_who_loads: bool = True) -> bool:
        """Wait until each helper has made its mark, or ended: those that ended are given up.

        Args:
            order: its number.
            mark: of how far it is.
            also_who_loads: False where nothing is left to do: who is still loading has taken no piece of the work.

        Returns:
            whether all have made it.
        """
        everybody, until = True, time.monotonic() + PATIENCE
        for k, process in list(self.processes.items()):
            loads = process.poll() is None and not mark_of(self.folder, k, 0, "ready").exists()
            if loads and not also_who_loads:
                continue
            file = mark_of(self.folder, k, order, mark)
            while not file.exists() and process.poll() is None and time.monotonic() < until:
                time.sleep(_BETWEEN_LOOKS)
            if not file.exists():
                log.warning("helper %d failed (%s): its share is made here", k, self.folder / f"{k}.log")
                _end(process)
                del self.processes[k]
                everybody = False
        return everybody

    def lost(self) -> bool:
        """Whether a helper has ended before its time."""
        return any(process.poll() is not None for process in self.processes.values())

    @contextmanager
    def working(self, what: str) -> Iterator[Claims]:
        """The helpers do their share of ``what`` while the context is open, and are waited for at its end.

        Yields:
            from which this process takes its own.
        """
        claims = Claims(self.folder / what)
        claims.clear()
        order = self.order(what)
        yield claims
        self.wait(order, also_who_loads=False)

    def end(self) -> None:
        """End all that are still running."""
        for process in self.processes.values():
            _end(process)
        self.processes.clear()


@contextmanager
def helpers(overrides: Sequence[str], run_dir: Path, count: int, device: torch.device) -> Iterator[Helpers]:
    """Run the same command in ``count`` - 1 more processes while the context is open.

    Args:
        overrides: of the command line.
        run_dir: of the run.
        count: processes, this one included.
        device: of this process; helper k gets GPU k, or its share of the CPU's cores.
    """
    found = Helpers(run_dir / FOLDER)
    if count > 1:
        shutil.rmtree(found.folder, ignore_errors=True)
        found.folder.mkdir(parents=True)
    own = [one for one in overrides if not one.lstrip("+~").startswith(_OWN)]
    environment = dict(os.environ)
    if device.type == "cpu" and count > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, cores() // count)))
        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    try:
        for k in range(1, count):
            place = f"cuda:{k}" if device.type == "cuda" else str(device)
            fixed = [f"device={place}", "trainer.devices=1", "logger=none"]
            fixed += [f"hydra.run.dir='{run_dir.resolve()}'", "hydra.output_subdir=null"]
            with (found.folder / f"{k}.log").open("wb") as file:
                command = [sys.executable, "-m", "hspace_exp", *own, *fixed]
                found.processes[k] = subprocess.Popen(
                    command,
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=file,
                    stderr=file,
                    env={**environment, SEAT: str(k)},
                )
        yield found
    finally:
        found.end()
        for folder in [path for path in found.folder.glob("*") if path.is_dir()]:
            shutil.rmtree(folder, ignore_errors=True)  # claims and shares; logs stay


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask, then insist: a process that waits in a GPU's queue does not hear."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdin is not None:
        process.stdin.close()
