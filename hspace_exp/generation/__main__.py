"""``python -m hspace_exp generate prompt="…" concepts=[…]``: images, their unedited twins and a grid."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from hspace_exp.config.command_line import CONF, exit_code, importing

ABOUT = """Images of one prompt, steered by concept files, each beside its unedited twin.

  python -m hspace_exp generate prompt="a photo of a doctor" concepts=[female.safetensors] strength=2 seeds=8
  python -m hspace_exp generate prompt="a photo of a doctor" concepts=outputs/…/seed=0/concepts ask=gender

assignment=balanced makes a fair batch: each concept in turn; sum asks for all at once; a name asks for that one.
Concepts are applied as the method that made them does; method=sdid adds them plainly. A prompt that names the
attribute itself is left alone (respect_prompt=false edits it, too). The same command goes on where it stopped.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 2 for wrong input, 130 when interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    return exit_code(lambda: _answer(given), "generate")


def _answer(given: Sequence[str]) -> None:
    if {"-h", "--help"} & set(given):
        print(f"{ABOUT}\n{(CONF / 'generate.yaml').read_text(encoding='utf-8')}")
        return
    with importing():
        from hspace_exp.generation.request import answer  # imports torch, which --help does without
    answer([_quoted(one) for one in given])


def _quoted(argument: str) -> str:
    """``key='value'`` where a plain value holds "=", as in the folder of a run: "…/seed=0/concepts"."""
    key, _, value = argument.partition("=")
    if "=" not in value or value[0] in "'\"[{":
        return argument
    escaped = value.replace("'", "\\'")
    return f"{key}='{escaped}'"


if __name__ == "__main__":
    sys.exit(main())
