"""Reads the JSON of ``benchmarks.run`` and ``benchmarks.full_size``, and picks the newest reading of each section."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hspace_exp.errors import UserError

ON_CPU = ", on a CPU"


@dataclass(frozen=True)
class Results:
    """One file.

    Attributes:
        name: of the file, without its ending.
        made: device, versions, commit, command; when it was started and how long it took, where that is known.
        sections: of ``benchmarks.run``, by name.
        jobs: of ``benchmarks.full_size``.
    """

    name: str
    made: Mapping[str, Any]
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    jobs: Sequence[Mapping[str, Any]] = ()

    @property
    def started(self) -> str:
        """When it was measured, ISO 8601; empty where the file does not say."""
        return str(self.made.get("started", ""))

    @property
    def commit(self) -> str:
        """What was measured, in short."""
        git = self.made.get("git") or {}
        return f"`{str(git.get('commit', 'unknown'))[:12]}`" + (" with changes" if git.get("dirty") else "")


def read(path: Path) -> Results:
    """Read one file.

    Raises:
        UserError: it is missing, or holds neither sections nor jobs.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if "sections" in found:
            return Results(path.stem, found["made"], found["sections"])
        made = {key: value for key, value in found.items() if key != "runs"} | {"rehearsal": found["tiny"]}
        return Results(path.stem, made, jobs=found["runs"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"expected results of benchmarks.run or benchmarks.full_size in {path}, got none ({error}): measure first"
        ) from error


def newest(results: Sequence[Results]) -> dict[str, tuple[Results, Mapping[str, Any]]]:
    """Each section's newest reading, by name; one that was left out or cut short counts where there is no whole one.

    What a CPU took stands for itself, under the name with ``ON_CPU``.
    """
    found: dict[str, tuple[Results, Mapping[str, Any]]] = {}
    for one in sorted(results, key=lambda r: r.started):
        for plain, section in one.sections.items():
            name = plain + ON_CPU * str(one.made.get("device", "")).startswith("CPU")
            if name not in found or _worth(section) >= _worth(found[name][1]):
                found[name] = one, section
    return found


def _worth(section: Mapping[str, Any]) -> int:
    return 2 if section["status"] == "done" else 1 if section["measures"] else 0
