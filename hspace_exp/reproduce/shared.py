"""What runs share, made first: side by side, several would make it at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate

from hspace_exp.io.digest import digest, essential
from hspace_exp.reproduce.pool import Task
from hspace_exp.reproduce.runs import UNEDITED, Planned, make_run

_OF_METHODS = ("method", "+vary", "frequency", "mask", "seed")


def tasks_of(runs: Sequence[Planned], scratch: Path, side_by_side: bool) -> list[Task]:
    """A task for each run, and before them, where runs go side by side, one for each thing that several share.

    Args:
        runs: what is to be made.
        scratch: an empty folder for what is only made for others.
        side_by_side: whether runs go at the same time; one after another they find each other's files anyway.
    """
    first: list[Task] = []
    needs: dict[int, set[str]] = {i: set() for i in range(len(runs))}
    if side_by_side:
        images = _keyed(runs, _images)
        learnt = _keyed(runs, _learnt)
        vectors = _keyed(runs, _vectors)
        bases = _keyed(runs, lambda config: _learnt(config) and _base(config))
        last: dict[str, str] = {}  # what is learnt from is made in turn, as it may be of the same images
        for kind, groups, stages in (
            ("images", images, ["generation"]),
            ("learnt", learnt, ["concepts", "masks"]),
            ("vectors", vectors, ["concepts", "masks", "training"]),
        ):
            for code, members in groups.items():
                base = digest(essential(_base(runs[members[0]].config)))
                if len(bases[base] if kind == "learnt" else members) < 2:
                    continue
                makes, wants = f"{kind} {code}", frozenset[str]()
                if kind == "learnt":
                    wants = frozenset({last[base]} if base in last else ())
                    last[base] = makes
                if kind == "vectors":
                    wants = frozenset(needs[members[0]])
                overrides = runs[members[0]].overrides
                if kind == "images":
                    overrides = (
                        *(text for text in overrides if not text.startswith(_OF_METHODS)),
                        f"method={UNEDITED}",
                    )
                folder = scratch / kind / code
                call = (overrides, folder, stages)
                first.append(Task(f"shared {makes}", make_run, call, scratch / f"{kind}.log", makes, wants))
                for i in members:
                    needs[i].add(makes)
    return first + [
        Task(run.name, make_run, (run.overrides, run.folder), run.folder / "run.log", needs=frozenset(needs[i]))
        for i, run in enumerate(runs)
    ]


def _keyed(runs: Sequence[Planned], about: Callable[[Mapping[str, Any]], Any]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for i, run in enumerate(runs):
        found = about(run.config)
        if found is not None:
            groups.setdefault(digest(essential(found)), []).append(i)
    return groups


def _base(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: config[name] for name in ("model", "scheduler", "protocol", "attribute")}


def _images(config: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the unedited images."""
    return {**{name: config[name] for name in ("model", "scheduler", "protocol")}, "prompts": config["prompts"]}


def _learnt(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What decides that from which vectors are learnt."""
    if config["method"].get("training") is None:
        return None
    method = instantiate(config["method"], _convert_="all")
    own = {"needs": sorted(method.needs), "keeps": method.keeps, "subjects": list(method.subjects)}
    return {**_base(config), "mask": config["mask"], **own}


def _vectors(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What decides the vectors."""
    learnt = _learnt(config)
    if learnt is None:
        return None
    precision = config["trainer"].get("precision")
    return {**learnt, "training": config["method"]["training"], "seed": config["seed"], "precision": precision}
