"""``python -m hspace_exp``, or ``hspace-exp``: a command by its name, or else the main job."""

from __future__ import annotations

import os
import sys
import threading
import time
from io import TextIOWrapper

LEADER = "HSPACE_EXP_LEADER"  # the process that started this one, whose end is this one's, while it imports, too


def main() -> int:
    """Run the command; returns the exit code. Each imports only what it needs."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # no character that a terminal lacks ends a command
            stream.reconfigure(errors="backslashreplace")
    if leader := os.environ.get(LEADER):
        threading.Thread(target=_end_with, args=(leader,), daemon=True).start()
    words = sys.argv[1:] or ["--help"]
    try:
        if words[0].isalpha() or words[0] in ("-h", "--help", "--version"):
            from hspace_exp.commands import start

            return start(words)
        from hspace_exp.job import main as job

        return job()
    except KeyboardInterrupt:  # while modules are imported
        return 130


def _end_with(leader: str) -> None:
    """End this process at once when the one of that number is no longer its parent; files are whole or absent."""
    while str(os.getppid()) == leader:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
