"""``hspace-exp studio``: open the page."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence

from hspace_exp.config.command_line import exit_code, importing
from hspace_exp.errors import UserError

ABOUT = """A page to feel concepts with: pictures unedited and edited, and what a judge reads in them.

  hspace-exp studio                                                        the embedded model
  hspace-exp studio model=sd15 model.path=FOLDER --concepts RUN/concepts   any Stable Diffusion folder
  … evaluator.weights=FILE                                                           and OpenCLIP weights to judge by

Nothing leaves this machine: the page is at 127.0.0.1 alone, and asks nobody else for anything.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command until Ctrl-C; returns the exit code: 2 for wrong input."""
    parser = argparse.ArgumentParser(
        prog="hspace-exp studio", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings as of a run, e.g. device=cuda")
    parser.add_argument("--concepts", nargs="+", default=[], metavar="PATH", help="concept files, or folders of them")
    parser.add_argument("--runs", default="outputs", metavar="FOLDER", help="whose runs are shown (default: outputs)")
    parser.add_argument("--port", type=int, default=7860, help="of the page (default: 7860, or the next that is free)")
    parser.add_argument("--no-browser", action="store_true", help="say the address, and open no browser")
    return exit_code(lambda: _serve(parser.parse_args(list(arguments or ()))))


def _serve(options: argparse.Namespace) -> None:
    if importlib.util.find_spec("gradio") is None:
        raise UserError("the page needs gradio: pip install 'hspace-exp[studio]'")
    for one in options.overrides:
        if "=" not in one:
            raise UserError(f"expected settings as key=value, got {one!r}; --concepts takes files and folders")
    with importing():  # torch and gradio, which --help does without
        from hspace_studio.opening import opened
        from hspace_studio.page import serve
    serve(opened(options.overrides, options.concepts), options.runs, options.port, not options.no_browser)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
