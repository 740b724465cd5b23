"""How far a run is, and how long its stages took.

A loop shows a bar with the time left on a terminal and in a notebook, and logs one line a minute elsewhere.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from tqdm.auto import tqdm

log = logging.getLogger(__name__)

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 60.0


def track(iterable: Iterable[Item], total: int | None = None, description: str = "") -> Iterator[Item]:
    """Yield the items unchanged and show how many are done.

    Args:
        iterable: what to loop over.
        total: number of items; None takes ``len`` where there is one.
        description: what is being done, e.g. "generate images".
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if sys.stderr.isatty() or "ipykernel" in sys.modules:  # notebooks
        yield from tqdm(iterable, description, total, leave=None, dynamic_ncols=True)
    else:
        yield from _lines(iterable, total, description)


def _lines(iterable: Iterable[Item], total: int | None, description: str) -> Iterator[Item]:
    started = last = time.monotonic()
    for done, item in enumerate(iterable, start=1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            log.info("%s", line(description, done, total, now - started))


def line(description: str, done: int, total: int | None, seconds: float) -> str:
    """One line of progress: how many items are done after ``seconds``, and about how long the rest takes."""
    if total is None:
        return f"{description}: {done} done in {seconds / 60:.0f} min"
    left = seconds / done * max(total - done, 0)
    return f"{description}: {done} of {total} done, about {left / 60:.0f} min left"


def quieten() -> None:
    """Silence what other libraries say about themselves."""
    for name in ("lightning.pytorch", "lightning.fabric", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    import diffusers  # heavy, and not needed to show progress

    diffusers.utils.logging.disable_progress_bar()


class Seconds(dict[str, float]):
    """Stage → seconds, for the record."""

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Add what the context takes, and say in the log that the stage begins."""
        log.info("%s …", stage)
        started = time.monotonic()
        yield
        self[stage] = self.get(stage, 0.0) + time.monotonic() - started
