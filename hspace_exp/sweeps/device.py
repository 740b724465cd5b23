"""One GPU for each job of a sweep that runs beside others."""

from __future__ import annotations

import fcntl
import os
import platform
from pathlib import Path

# Open files: a lock lasts as long as its process, however that ends, and jobs of one process share a device.
_held: dict[Path, int] = {}


def claim(folder: Path, count: int, number: int) -> int:
    """Index of the device that this process has to itself, as far as there are enough.

    Args:
        folder: of the sweep, for lock files.
        count: devices that this process sees.
        number: of the job; where all devices are taken, it decides which is shared.
    """
    folder.mkdir(parents=True, exist_ok=True)
    locks = [folder / f"{platform.node()}-device{index}.lock" for index in range(count)]
    for index, path in enumerate(locks):
        if path in _held or _lock(path):
            return index
    return number % count


def _lock(path: Path) -> bool:
    handle = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    _held[path] = handle
    return True
