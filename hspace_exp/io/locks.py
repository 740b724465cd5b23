"""Locks between processes of one machine, or of several that share a file system: files that end with their process."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

FOLDER = ".locks"


def lock(path: Path, wait: bool) -> int | None:
    """Lock a file, which is made if need be and stays.

    Args:
        path: of the file.
        wait: until it is free.

    Returns:
        a handle, open as long as the lock is wanted; None where another process has it.

    Raises:
        OSError: the file cannot be made, or the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    if sys.platform == "win32":  # no flock: everybody gets the lock, and what is shared may be made twice
        return handle
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return handle


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only one who makes a folder's files; who comes second waits, and then finds them.

    The lock lies beside the folder, in ``.locks``. Files are whole or absent anyway: where there can be no lock, only
    time is lost.
    """
    path = folder.parent / FOLDER / folder.name
    handle = None
    try:
        handle = lock(path, wait=False)
        if handle is None:
            log.info("waiting for another run that makes %s", folder)
            handle = lock(path, wait=True)
    except OSError as error:
        log.warning("%s cannot be locked (%s): runs beside this one may make the same files", folder, error.strerror)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)
