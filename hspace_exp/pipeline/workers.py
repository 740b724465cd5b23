"""Several processes of one command share a run: all make its images, rank 0 alone does everything else.

They are started by the first one (``trainer.devices=N``), by torchrun or by srun, on one machine or on several that
share the run's folder and the cache. They speak by files alone. A chunk of images belongs to whoever holds its lock,
which the operating system opens when that process ends: a lost worker costs time, not the run.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError
from hspace_exp.generation.generate import Lock, claim, generate, take_originals
from hspace_exp.generation.manifest import write_manifest
from hspace_exp.io import locks
from hspace_exp.io.leader import LEADER
from hspace_exp.io.locks import cores, lock
from hspace_exp.methods.steering import UneditedRuns
from hspace_exp.pipeline.parts import Parts
from hspace_exp.prompts.attributes import prompts_of

log = logging.getLogger(__name__)

FOLDER, READY, RANK_0 = ".workers", "ready", ".rank0.lock"
# Where a process reads its rank, its rank on this machine, and how many there are: torchrun's names, and srun's.
VARIABLES = (("RANK", "LOCAL_RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS"))
# Seconds that another rank waits for a rank 0 that is not at work, and between its looks.
PATIENCE, BETWEEN_LOOKS = 120.0, 0.2
_OWN = ("device=", "trainer.devices=", "logger=", "logger.", "hydra.run.dir=", "hydra/launcher=", "hydra.sweep")


@dataclass(frozen=True)
class Worker:
    """One of the processes that share a run."""

    run_dir: Path  # of the run, the same for all
    rank: int = 0  # 0 is the one that leaves the results
    local_rank: int = 0  # among those of its machine
    count: int = 1  # of all
    starts: bool = False  # whether this one starts the others

    @classmethod
    def here(cls, run_dir: Path, devices: int) -> Worker:
        """This process, as torchrun, srun or the first process started it, or else as the first of ``devices``."""
        for rank, local_rank, count in VARIABLES:
            if int(os.environ.get(count, 1)) > 1:
                return cls(run_dir, int(os.environ[rank]), int(os.environ[local_rank]), int(os.environ[count]))
        return cls(run_dir, count=devices, starts=True)

    def device(self, device: torch.device, devices: int) -> torch.device:
        """The device of this process: the GPU of its local rank, where it is one of several.

        Raises UserError: fewer GPUs are visible than ``trainer.devices``.
        """
        if device.type != "cuda" or self.count == 1:
            return device
        if devices > torch.cuda.device_count():
            raise UserError(f"trainer.devices={devices}, but {torch.cuda.device_count()} GPUs are visible")
        if device.index not in (None, 0):
            raise UserError(f"several processes start from the first GPU: leave device={device} out")
        return torch.device("cuda", self.local_rank % torch.cuda.device_count())

    @property
    def folder(self) -> Path:
        """Of logs, of locks, and of the file by which rank 0 says that images can be made."""
        return self.run_dir / FOLDER

    def locks(self, folder: Path) -> Lock:
        """Locks of chunks, files in a folder; another rank gets none when rank 0 has ended."""

        def locked(name: str, wait: bool) -> Callable[[], None] | None:
            return lock(folder / name, wait) if self.rank == 0 or self.alive() else None

        return locked

    def ready(self) -> None:
        """In rank 0: tell the others that all that images need is there."""
        if self.count > 1:
            (self.folder / READY).touch()

    def alive(self) -> bool:
        """Whether rank 0 is at work."""
        release = lock(self.run_dir / RANK_0)
        if release is not None:
            release()
        return release is None

    def wait_until_ready(self) -> bool:
        """In another rank: wait for all that images need; False where rank 0 has ended, or does not come."""
        seen = time.monotonic()
        while time.monotonic() - seen < PATIENCE:
            if self.alive():
                seen = time.monotonic()
                if (self.folder / READY).exists():
                    return True
            time.sleep(BETWEEN_LOOKS)
        return False

    @contextmanager
    def leading(self, overrides: Sequence[str], device: torch.device) -> Iterator[None]:
        """In rank 0: while the context is open the others help; with ``starts`` they run the same ``overrides``."""
        if self.count == 1:
            yield
            return
        release = lock(self.run_dir / RANK_0, wait=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        others = self._start(overrides, device) if self.starts else []
        try:
            yield
        finally:
            for rank, process in enumerate(others, start=1):
                if process.poll():
                    log.warning("worker %d failed: %s", rank, self.folder / f"{rank}.log")
                process.kill()  # no image is left to it
                process.wait()
            for path in filter(Path.is_dir, self.folder.iterdir()):
                shutil.rmtree(path, ignore_errors=True)  # locks; logs stay
            if release is not None:
                release()

    def _start(self, overrides: Sequence[str], device: torch.device) -> list[subprocess.Popen[bytes]]:
        own = [one for one in overrides if not one.lstrip("+~").startswith(_OWN)]
        own += [f"device={device.type}", "trainer.devices=1", "logger=none", "hydra.output_subdir=null"]
        command = [sys.executable, "-m", "hspace_exp", *own, f"hydra.run.dir={self.run_dir.resolve()}"]
        environment = {**os.environ, "WORLD_SIZE": str(self.count)}
        if device.type == "cpu":
            environment.setdefault("OMP_NUM_THREADS", str(max(1, cores() // self.count)))
            torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))

        started = []
        for rank in range(1, self.count):
            own_rank = {"RANK": str(rank), "LOCAL_RANK": str(rank), LEADER: str(os.getpid())}
            with (self.folder / f"{rank}.log").open("wb") as file:
                started.append(subprocess.Popen(command, stdout=file, stderr=file, env=environment | own_rank))
        return started


def make_images(parts: Parts, concepts: Mapping[str, Concept], cache: Path, worker: Worker) -> None:
    """Stage ``generation``: make this process's share of the images; rank 0 sees to it that all are there in the end.

    Unedited ones are shared through the cache; the run's manifest lists both.
    """
    images, cached = worker.run_dir / "images", parts.unedited.folder(cache) / "images"
    options: Any = {"image_seed": parts.image_seed, "wait": worker.rank == 0}
    make: Callable[..., int] = partial(generate, parts.backbone, parts.sampling, parts.items, **options)
    edit = None if parts.edited is None else parts.edit(concepts, UneditedRuns())
    start = None if edit is None else parts.method.before(edit, parts.frequency)
    if parts.edited is not None and worker.rank == 0:
        claim(images / "edited", parts.edited.digest)
    worker.ready()
    shared = worker.locks(cached.parent / locks.FOLDER)
    made = make(cached, edit=start, lock=shared, made_by=parts.unedited.digest, description="unedited images")
    if made < len(parts.items):
        log.info("%d of %d unedited images are not made here: %s", len(parts.items) - made, len(parts.items), cached)
    if parts.edited is not None:
        own = worker.locks(worker.folder / "edited") if worker.count > 1 else None
        make(images / "edited", edit=edit, lock=own, made_by=parts.edited.digest, description="edited images")
    if worker.rank == 0:
        take_originals(parts.items, cached, images / "original", parts.unedited.digest)
        strengths = parts.method.strengths(prompts_of(parts.asked))
        write_manifest(worker.run_dir, parts.items, strengths, parts.edited is not None)
