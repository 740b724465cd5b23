"""Processes of one machine joined for Lightning's DDP, whoever started them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.distributed import FileStore  # type: ignore[attr-defined]

from hspace_exp.pipeline.parallel import PATIENCE

# What one process may wait for another within a step: writing a checkpoint is the longest that happens there.
TIMEOUT = timedelta(seconds=300)


@dataclass(frozen=True)
class Rank:
    """The place of a process among those that train together."""

    index: int = 0
    count: int = 1

    def rows(self, batch_size: int) -> slice:
        """Its rows of the B of each concept: as even as can be, in order."""
        return slice(self.index * batch_size // self.count, (self.index + 1) * batch_size // self.count)


def store_in(place: str, count: int) -> FileStore:
    """Where processes of one machine find each other: a file, as nothing asks for names of hosts then."""
    store = FileStore(str(Path(place) / "store"), count)
    store.set_timeout(timedelta(seconds=PATIENCE))
    return store


@contextmanager
def process_group(rank: Rank, place: str, device: torch.device) -> Iterator[dict[str, Any]]:
    """Processes of one machine as the ranks of ``torch.distributed``: NCCL between GPUs, gloo between CPUs.

    Yields:
        arguments of a ``lightning.Trainer``, to which each process is a node of one device.
    """
    cuda = device.type == "cuda"
    backend = "nccl" if cuda else "gloo"
    own: dict[str, Any] = {"device_id": torch.device("cuda", device.index or 0)} if cuda else {}
    store = store_in(place, rank.count)
    torch.distributed.init_process_group(
        backend, store=store, rank=rank.index, world_size=rank.count, timeout=TIMEOUT, **own
    )
    try:
        strategy = DDPStrategy(cluster_environment=_Joined(rank), process_group_backend=backend, timeout=TIMEOUT)
        yield {"strategy": strategy, "num_nodes": rank.count, "use_distributed_sampler": False}
    except BaseException:
        _leave(cuda)
        raise
    _leave(False)


def _leave(at_once: bool) -> None:
    """Leave the group; ``at_once``: without waiting for what is queued on the GPU, which may never end."""
    if not torch.distributed.is_initialized():
        return
    if at_once:
        torch.distributed.distributed_c10d._abort_process_group()
    else:
        torch.distributed.destroy_process_group()


class _Joined(LightningEnvironment):
    """Tells Lightning that the processes are there already, and which of them this is."""

    def __init__(self, rank: Rank) -> None:
        super().__init__()
        self.rank = rank

    @property
    def creates_processes_externally(self) -> bool:
        """Nothing is left to start."""
        return True

    def local_rank(self) -> int:
        """The one device of its node."""
        return 0

    def node_rank(self) -> int:
        """The rank."""
        return self.rank.index
