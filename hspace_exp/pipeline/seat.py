"""What a helper process knows of itself, and how it hears and answers; see ``parallel``."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from hspace_exp.io.atomic import write_text

SEAT = "HSPACE_EXP_HELPER"
FOLDER = ".helpers"


def mark_of(folder: Path, k: int, order: int, mark: str) -> Path:
    """The file by which helper ``k`` says that it is so far with an order."""
    return folder / f"{k}.{order}.{mark}"


@dataclass(frozen=True)
class Seat:
    """What a helper knows of itself.

    Attributes:
        index: its number.
        folder: see ``Helpers``.
    """

    index: int
    folder: Path

    @classmethod
    def of_this_process(cls, run_dir: Path) -> Seat | None:
        """The seat that this process was started for; None in the user's own process."""
        text = os.environ.get(SEAT)
        return None if text is None else cls(int(text), run_dir / FOLDER)

    def mark(self, order: int, mark: str = "done") -> None:
        """Say how far an order is."""
        write_text(mark_of(self.folder, self.index, order, mark), "")


def orders() -> Iterator[str]:
    """What this helper is told, line by line; it ends with the process that tells, whatever it is doing then."""
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)  # not sys.exit: the main thread may wait for a process that is no more

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()
