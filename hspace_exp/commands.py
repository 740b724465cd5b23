"""The commands beside the main job, ``python -m hspace_exp NAME …``, and the old names of those that moved."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

# What is after "python -m hspace_exp" → the module whose ``main(arguments)`` it is.
COMMANDS = {
    "generate": "hspace_exp.generation.__main__",
    "evaluate": "hspace_exp.evaluation.__main__",
    "compare": "hspace_exp.evaluation.compare",
    "tables": "hspace_exp.results.tables.__main__",
    "report": "hspace_exp.results.report.__main__",
    "concepts": "hspace_exp.concepts.__main__",
    "doctor": "hspace_exp.doctor.__main__",
    "reproduce": "hspace_exp.reproduce.__main__",
}


def start(name: str, arguments: Sequence[str]) -> int:
    """Run a command; returns its exit code."""
    code: int = import_module(COMMANDS[name]).main(list(arguments))
    return code


def renamed(old: str, new: str) -> int:
    """Run what ``python -m OLD`` was until version 0.1 by its new name, and say so.

    Args:
        old: dotted name of the module.
        new: ``hspace_exp NAME``, or the dotted name of a module with ``main(arguments)``.
    """
    shown = new.removesuffix(".__main__")
    print(f"python -m {old} is now python -m {shown}; the old name goes with version 0.3", file=sys.stderr)
    package, _, name = new.partition(" ")
    if name:
        return start(name, sys.argv[1:])
    code: int = import_module(package).main(sys.argv[1:])
    return code
