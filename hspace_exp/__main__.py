"""``python -m hspace_exp``, or ``hspace-exp``: a command by its name, or else the main job."""

from __future__ import annotations

import sys
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


if __name__ == "__main__":
    sys.exit(main())
