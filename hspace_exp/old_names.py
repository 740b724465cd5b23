"""Names that commands had after ``python -m`` until version 0.1."""

from __future__ import annotations

import runpy
import sys
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

# What was after "python -m" → what is now.
RENAMED = {
    "hspace_exp.generate": "hspace_exp generate",
    "hspace_exp.evaluate.__main__": "hspace_exp evaluate",
    "hspace_exp.evaluate.compare": "hspace_exp compare",
    **{f"hspace_exp.{name}": f"hspace_exp {name}" for name in ("tables", "report")},
    **{f"hspace_exp.{name}.__main__": f"hspace_exp {name}" for name in ("concepts", "doctor", "reproduce")},
    **{f"hspace_exp.avatars.{name}": f"avatars_world.{name}" for name in ("train", "evaluate", "preview")},
    "hspace_exp.masks.measure": "avatars_world.mask_quality",
}


def start_renamed(old: str) -> None:
    """Run what ``python -m OLD`` was by its new name, and say so on stderr."""
    shown = f"python -m {old.removesuffix('.__main__')} is now python -m {RENAMED[old]}"
    print(f"{shown}; the old name goes with version 0.3", file=sys.stderr)
    module, *command = RENAMED[old].split()
    sys.argv[1:1] = command
    runpy.run_module(module, run_name="__main__", alter_sys=True)


class OldNames(MetaPathFinder, InspectLoader):
    """Stands in for the modules of ``RENAMED``, so that ``python -m`` finds them without a file for each."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The stand-in of an old name, or of a package around it that is gone; None for any other name."""
        there = Path(__file__).with_name(fullname.rpartition(".")[2]) / "__init__.py"
        package = f"{fullname}.__main__" in RENAMED and not there.exists()
        known = package or fullname in RENAMED
        return ModuleSpec(fullname, self, origin=fullname, is_package=package) if known else None

    def get_source(self, fullname: str) -> str:
        """Code of the stand-in: nothing where it is only imported."""
        run = f"from hspace_exp.old_names import start_renamed\n    start_renamed({fullname!r})"
        return f"if __name__ == '__main__':\n    {run}\n"
