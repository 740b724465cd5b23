"""``python -m hspace_exp report outputs/…``: one HTML page about a run or a folder of runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hspace_exp.errors import UserError
from hspace_exp.io.atomic import write_text

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 2 for wrong input, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m hspace_exp report", description=__doc__)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a run's folder or any folder above")
    parser.add_argument("--out", metavar="FILE", help="the page (default: report.html in the first PATH)")
    parser.add_argument("--title", help="of the page (default: the first PATH)")
    options = parser.parse_args(arguments)
    paths = [Path(path) for path in options.paths]
    first = paths[0] if paths[0].is_dir() else paths[0].parent
    out = Path(options.out) if options.out else first / "report.html"
    try:
        from hspace_exp.results.report.collect import collect  # imports torch, which --help does without
        from hspace_exp.results.report.page import page

        text = page(*collect(paths), options.title or f"Report of {first}")
        write_text(out, text)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: cannot use {error.filename or out}: {error.strerror}; choose another file", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return INTERRUPTED
    print(f"{out} ({len(text.encode()) / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
