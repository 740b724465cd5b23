"""One GPU for each job of a sweep that runs beside others."""

from __future__ import annotations

import platform
from pathlib import Path

from hspace_exp.io.locks import lock

# Lasts as long as this process, however that ends; its jobs follow each other on one device.
_held: dict[Path, int] = {}


def claim(folder: Path, count: int, number: int) -> int:
    """Index of the device that this process has to itself, as far as there are enough.

    Args:
        folder: of the sweep, for lock files.
        count: devices that this process sees.
        number: of the job; where all devices are taken, it decides which is shared.
    """
    for index in range(count):
        path = folder / f"{platform.node()}-device{index}.lock"
        if path in _held:
            return index
        handle = lock(path, wait=False)
        if handle is not None:
            _held[path] = handle
            return index
    return number % count
