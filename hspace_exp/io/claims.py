"""Who of several processes takes which piece of work: a file a piece, made by the one that comes first."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Claims:
    """Numbered pieces of one piece of work.

    Processes take the next piece when they are free, so that one that starts late or is slow delays the others by one
    piece at most.

    Attributes:
        folder: seen by all processes; a file a piece.
    """

    folder: Path

    def clear(self) -> None:
        """Forget what was taken, before anybody takes anything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def takes(self, number: int) -> bool:
        """Whether this process is the first to ask for piece ``number``, which is then its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            os.close(os.open(self.folder / str(number), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True
