"""Data-parallel training: processes that share each step's rows, joined by Lightning's DDP.

Every process draws the same batch and takes its rows of each concept; the gradients are averaged, so all have the same
vectors. The first process leads: it tells the others where to join, and goes on alone when one of them is lost.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from hspace_exp.pipeline.parallel import Helpers
from hspace_exp.pipeline.seat import Seat
from hspace_exp.training.process_group import Rank, process_group, store_in

log = logging.getLogger(__name__)

_GO = "go"
_BETWEEN_LOOKS = 0.5
_LAST_WORDS = 5.0


class Lost(RuntimeError):
    """A process that training was shared with has ended."""


class Partners(Protocol):
    """With whom a process trains."""

    def call(self, most: int) -> None:
        """Have the others prepare, at most ``most`` processes in all."""

    def gather(self) -> Rank | None:
        """Wait for all to be ready; None where this process is not needed."""

    def joined(self, rank: Rank) -> AbstractContextManager[dict[str, Any]]:
        """Arguments of the trainer; the processes are joined while the context is open.

        Raises:
            Lost: one of the others ended, and this process can go on without.
        """


class Alone:
    """Nobody."""

    def call(self, most: int) -> None:
        """Nobody to call."""

    def gather(self) -> Rank:
        """The only one."""
        return Rank()

    def joined(self, rank: Rank) -> AbstractContextManager[dict[str, Any]]:
        """Nothing to add to what Lightning chooses."""
        return nullcontext({"strategy": "auto"})


class Leader:
    """The first process: calls the helpers, and outlives them."""

    def __init__(self, helpers: Helpers, made_by: str, device: torch.device) -> None:
        """Take what is trained on.

        Args:
            helpers: that may take part.
            made_by: digest of all that decides the vectors, by which helpers know what to train.
            device: of this process.
        """
        self.helpers, self.made_by, self.device = helpers, made_by, device
        self.count, self.order = 1, 0
        self.place: tempfile.TemporaryDirectory[str] | None = None

    def call(self, most: int) -> None:
        """Open the place to join, and have the helpers prepare."""
        self.count = min(len(self.helpers) + 1, most)
        if self.count > 1:
            self.place = tempfile.TemporaryDirectory(prefix="hspace_exp_", ignore_cleanup_errors=True)
            self.order = self.helpers.order(f"training {self.made_by} {self.count} {self.place.name}")

    def gather(self) -> Rank:
        """Wait until all helpers are ready; where one is not, train alone."""
        if self.place is None:
            return Rank()
        ready = self.helpers.wait(self.order, "ready")
        store_in(self.place.name, self.count).set(_GO, "yes" if ready else "no")
        if not ready:
            self.helpers.wait(self.order)
            self.place.cleanup()
        return Rank(0, self.count if ready else 1)

    @contextmanager
    def joined(self, rank: Rank) -> Iterator[dict[str, Any]]:
        """Join, and watch the others."""
        if rank.count == 1 or self.place is None:
            yield {"strategy": "auto"}
            return
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(over,), daemon=True)
        watch.start()
        try:
            with process_group(rank, self.place.name, self.device) as options:
                yield {**options, "callbacks": [_Check(self.helpers)]}
        except RuntimeError as error:
            if not isinstance(error, Lost) and not self._ended():
                raise
            self.helpers.end()
            raise Lost(f"a process that took part has ended ({self.helpers.folder})") from error
        finally:
            over.set()
            watch.join()
            self.place.cleanup()
        self.helpers.wait(self.order)

    def _watch(self, over: threading.Event) -> None:
        """Free this process from waiting on a GPU for one that has ended: NCCL itself would wait on."""
        while not over.wait(_BETWEEN_LOOKS):
            if self.helpers.lost():
                if self.device.type == "cuda" and not over.wait(_LAST_WORDS):
                    torch.distributed.distributed_c10d._abort_process_group()
                return

    def _ended(self) -> bool:
        """Whether a helper has ended, or does so now: its connections close a moment before."""
        waiting = threading.Event()
        for _ in range(int(_LAST_WORDS / 0.1)):
            if self.helpers.lost():
                return True
            waiting.wait(0.1)
        return False


@dataclass(frozen=True)
class Follower:
    """A helper: prepares, says so, and joins when told.

    Attributes:
        seat: of the helper.
        order: number of the order.
        count: processes that train.
        place: folder in which they find each other.
        device: of this process.
    """

    seat: Seat
    order: int
    count: int
    place: str
    device: torch.device

    def call(self, most: int) -> None:
        """The leader calls."""

    def gather(self) -> Rank | None:
        """Say that this process is ready, and wait for the word."""
        self.seat.mark(self.order, "ready")
        store = store_in(self.place, self.count)
        return Rank(self.seat.index, self.count) if store.get(_GO) == b"yes" else None

    def joined(self, rank: Rank) -> AbstractContextManager[dict[str, Any]]:
        """Join; when another is lost this process ends."""
        return process_group(rank, self.place, self.device)


class _Check(Callback):
    """Ends training as soon as a partner is lost, before a checkpoint is written."""

    def __init__(self, helpers: Helpers) -> None:
        self.helpers = helpers

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        """Look at the helpers."""
        if self.helpers.lost():
            raise Lost("a helper has ended")
