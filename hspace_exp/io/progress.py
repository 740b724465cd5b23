"""How far a run is, and how long its stages took.

A loop shows a bar with the time left on a terminal and in a notebook, and logs one line a minute elsewhere.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from tqdm.auto import tqdm

log = logging.getLogger(__name__)

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 60.0

# What is told how far a loop is, instead of anything shown: its description, items done, all items.
LISTENER: ContextVar[Callable[[str, int, int], None] | None] = ContextVar("listener", default=None)


def track(items: Collection[Item], description: str = "") -> Iterator[Item]:
    """Yield the items unchanged and show how many are done; ``description`` says of what, e.g. "generate images"."""
    tell = LISTENER.get()
    if tell is None and (sys.stderr.isatty() or "ipykernel" in sys.modules):  # notebooks
        yield from tqdm(items, description, leave=None, dynamic_ncols=True)
        return
    started = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if tell is not None:
            tell(description, done, len(items))
        elif (now := time.monotonic()) - last >= SECONDS_BETWEEN_LINES:
            last = now
            left = (now - started) / done * (len(items) - done)
            log.info("%s: %d of %d done, about %.0f min left", description, done, len(items), left / 60)


def quieten() -> None:
    """Silence what other libraries say about themselves."""
    for name in ("lightning.pytorch", "lightning.fabric", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    import diffusers  # heavy, and not needed to show progress
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


class Seconds(dict[str, float]):
    """Stage → seconds, for the record."""

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Add what the context takes, and say in the log that the stage begins."""
        log.info("%s …", stage)
        started = time.monotonic()
        yield
        self[stage] = self.get(stage, 0.0) + time.monotonic() - started
