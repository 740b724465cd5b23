"""How far a long loop is: a bar with the time left on a terminal, one log line a minute elsewhere."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

log = logging.getLogger(__name__)

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 60.0

# A terminal has room for one live display: a loop inside another adds its bar to the outer one's.
_display: Progress | None = None


def track(iterable: Iterable[Item], total: int | None = None, description: str = "") -> Iterator[Item]:
    """Yield the items unchanged and show how many are done.

    Args:
        iterable: what to loop over.
        total: number of items; None takes ``len`` where there is one.
        description: what is being done, e.g. "generate images".
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if sys.stderr.isatty():
        yield from _bar(iterable, total, description)
    else:
        yield from _lines(iterable, total, description)


def _bar(iterable: Iterable[Item], total: int | None, description: str) -> Iterator[Item]:
    global _display
    outermost = _display is None
    display = _new_display() if _display is None else _display
    _display = display
    task = display.add_task(description, total=total)
    try:
        for item in iterable:
            yield item
            display.advance(task)
    finally:
        if outermost:
            display.stop()
            _display = None
        else:
            display.remove_task(task)


def _new_display() -> Progress:
    display = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    display.start()
    return display


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
