"""What processes share: the cores of a machine, and locks on a file system, which end with their process."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

FOLDER = ".locks"


def cores() -> int:
    """Cores that this process may use, which a scheduler or a container may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def lock(path: Path, wait: bool = False) -> Callable[[], None] | None:
    """Lock a file, which is made if need be and stays; ``wait`` until it is free.

    Where nothing can be locked, as in a read-only folder, that is said and everybody gets the lock: files are whole or
    absent anyway, so that only time is lost.

    Returns:
        what opens the lock again, as the end of the process does; None where another process has it.
    """
    own = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        own.acquire(blocking=wait)
    except Timeout:
        return None
    except (OSError, NotImplementedError) as error:
        log.warning("%s cannot be locked (%s): runs beside this one may make the same files", path, error)
        return lambda: None
    return own.release


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only one who makes a folder's files; who comes second waits, and then finds them.

    The lock lies beside the folder, in ``.locks``.
    """
    path = folder.parent / FOLDER / folder.name
    release = lock(path)
    if release is None:
        log.info("waiting for another run that makes %s", folder)
        release = lock(path, wait=True)
    try:
        yield
    finally:
        if release is not None:
            release()
