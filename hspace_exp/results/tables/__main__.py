"""``python -m hspace_exp tables outputs/…``: print the comparison of all runs found there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from hspace_exp.errors import UserError
from hspace_exp.io.atomic import write_text
from hspace_exp.results.tables.build import build
from hspace_exp.results.tables.formats import FORMATS, render


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code, 2 for wrong input."""
    parser = argparse.ArgumentParser(prog="python -m hspace_exp tables", description="Compare runs by their records.")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a record.json, a run's folder or any folder above")
    parser.add_argument("--format", default="markdown", help=f"one of {', '.join(FORMATS)} (default: markdown)")
    parser.add_argument("--out", metavar="FILE", help="write there instead of printing")
    parser.add_argument("--metrics", metavar="A,B", help="show these metrics, or all (default: the standard ones)")
    options = parser.parse_args(arguments)
    try:
        metrics = options.metrics.split(",") if options.metrics else None
        text = render(build(options.paths, metrics), options.format)
        if options.out:
            write_text(options.out, text)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: cannot write {options.out}: {error.strerror}; choose another file", file=sys.stderr)
        return 2
    if not options.out:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
