"""The commands beside the main job, ``python -m hspace_exp NAME …``, and the old names of those that moved."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

from hspace_exp.errors import unknown

# What is after "python -m hspace_exp" → the module whose ``main(arguments)`` it is.
COMMANDS = {
    "generate": "hspace_exp.generation.__main__",
    "evaluate": "hspace_exp.results.evaluate",
    "compare": "hspace_exp.results.compare",
    "tables": "hspace_exp.results.tables.formats",
    "report": "hspace_exp.results.report",
    "concepts": "hspace_exp.concepts.__main__",
    "doctor": "hspace_exp.doctor.__main__",
    "reproduce": "hspace_exp.reproduce.__main__",
    "studio": "hspace_studio.__main__",
}

# What was after "python -m" until version 0.1 → what is now: a command of these, or a module with ``main(arguments)``.
RENAMED = {
    "hspace_exp.generate": "hspace_exp generate",
    "hspace_exp.evaluate.__main__": "hspace_exp evaluate",
    "hspace_exp.evaluate.compare": "hspace_exp compare",
    "hspace_exp.tables": "hspace_exp tables",
    "hspace_exp.report": "hspace_exp report",
    "hspace_exp.avatars.train": "avatars_world.train.__main__",
    "hspace_exp.avatars.evaluate": "avatars_world.evaluate.__main__",
    "hspace_exp.avatars.preview": "avatars_world.preview",
    "hspace_exp.masks.measure": "avatars_world.mask_quality",
}


def start(name: str, arguments: Sequence[str]) -> int:
    """Run a command; returns its exit code, 2 where there is no such command."""
    if name not in COMMANDS:
        print(f"error: {unknown('command', name, COMMANDS)}", file=sys.stderr)
        return 2
    code: int = import_module(COMMANDS[name]).main(list(arguments))
    return code


def start_renamed(old: str) -> int:
    """Run what ``python -m OLD`` was by its new name, and say so on stderr."""
    new = RENAMED[old]
    shown = f"python -m {old.removesuffix('.__main__')} is now python -m {new.removesuffix('.__main__')}"
    print(f"{shown}; the old name goes with version 0.3", file=sys.stderr)
    _, _, command = new.partition(" ")
    code: int = start(command, sys.argv[1:]) if command else import_module(new).main(sys.argv[1:])
    return code


class OldNames(MetaPathFinder, InspectLoader):
    """Stands in for the modules of ``RENAMED``, so that ``python -m`` finds them without a file for each."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The stand-in of an old name, or of the package around it; None for any other name."""
        package = f"{fullname}.__main__" in RENAMED
        known = package or fullname in RENAMED
        return ModuleSpec(fullname, self, origin=fullname, is_package=package) if known else None

    def get_source(self, fullname: str) -> str:
        """Code of the stand-in: nothing where it is only imported."""
        run = f"from hspace_exp.commands import start_renamed\n    raise SystemExit(start_renamed({fullname!r}))"
        return f"if __name__ == '__main__':\n    {run}\n"
