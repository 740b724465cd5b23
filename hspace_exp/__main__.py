"""``python -m hspace_exp``, or ``hspace-exp``: a command by its name, or else the main job."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from io import TextIOWrapper

from hspace_exp.io.leader import end_with_leader


def main() -> int:
    """Run the command; returns the exit code. Each imports only what it needs."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # no character that a terminal lacks ends a command
            stream.reconfigure(errors="backslashreplace")
    end_with_leader()  # first, for what follows imports for seconds
    words = sys.argv[1:] or ["--help"]
    try:
        if words[0].isalpha() or words[0] in ("-h", "--help", "--version"):
            from hspace_exp.commands import start

            return start(words)
        from hspace_exp.job import main as job

        return job()
    except KeyboardInterrupt:  # while modules are imported
        return 130


def program() -> int:
    """``main`` in a process of its own, which ends at once: to take torch apart object by object costs 1.7 seconds."""
    codes: list[int] = []
    atexit.register(_end, codes)  # before all others, so that it is called after them, when threads are joined, too
    codes.append(main())
    return codes[0]


def _end(codes: list[int]) -> None:
    with suppress(OSError, ValueError, IndexError):  # a closed pipe, or an exception: Python's own end has words for it
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(codes[0])


if __name__ == "__main__":
    sys.exit(program())
