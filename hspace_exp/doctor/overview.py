"""``hspace-exp doctor``: what is here, what is missing, and what to do."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Template
from omegaconf import OmegaConf
from tabulate import tabulate

from hspace_exp.config.command_line import CONF, choices, composed
from hspace_exp.config.schema import register
from hspace_exp.config.trust import check_trust
from hspace_exp.doctor.needs import Need, needs_in, needs_of
from hspace_exp.models.hub import answers, host
from hspace_exp.results.loggers import has_key

_PAGE = Template(Path(__file__).with_name("overview.txt.j2").read_text("utf-8"), trim_blocks=True)
MEMORY_GIB, MEASURED_GIB, CHECKPOINTS = yaml.safe_load(
    Path(__file__).with_name("overview.yaml").read_text("utf-8")
).values()


def tell(overrides: Sequence[str] | None = None, experiment: str = "") -> int:
    """Print what is here, or what a run with overrides, such as an experiment's, needs; 0, or 1 where it lacks some."""
    if not (overrides or experiment):
        print(overview(), flush=True)
        return 0
    found = needs([*([f"+experiment={experiment}"] if experiment else []), *(overrides or ())])
    missing = sum(need.place is None for need in found)
    lines = [f"{need.what}: {'here' if need.place else f'missing; {need.how}'}" for need in found]
    lines.append(f"not ready: {missing} of {len(found)} missing" if missing else "ready")
    print("\n".join(lines), flush=True)
    return int(missing > 0)


def needs(overrides: Sequence[str]) -> list[Need]:
    """Needs of one configuration."""
    resolved: Any = OmegaConf.to_container(composed(overrides), resolve=True, throw_on_missing=True)
    check_trust(resolved, resolved["trust"])
    return needs_of(resolved)


def needs_of_choice(choice: str) -> list[Need]:
    """Needs of what a choice such as ``mask=sam_vit_b mask.model_type=vit_l`` names, by its file in conf alone."""
    (file, name), *more = (one.split("=") for one in choice.split())
    node = {**_read(file, name), **{key.removeprefix(f"{file}."): value for key, value in more}}
    resolved: Any = OmegaConf.to_container(OmegaConf.create({"device": "auto", "node": node}), resolve=True)
    return needs_in(resolved)


def _read(group: str, name: str) -> dict[str, Any]:
    """A file of conf with what it builds on, as Hydra would put it together; interpolations are left as they are."""
    whole: dict[str, Any] = {}
    own = yaml.safe_load((CONF / group / f"{name}.yaml").read_text("utf-8"))
    for part in own.pop("defaults", ()):
        if isinstance(part, dict):  # "/metric@metrics": [name, …], or an override of another group
            [(key, names)] = part.items()
            other, _, place = key.lstrip("/").partition("@")
            whole |= {place: [_read(other, one) for one in names]} if isinstance(names, list) else {}
        elif part != "_self_":
            whole |= _read(group, part.removesuffix("@_here_"))
    return whole | own


def gpus() -> list[tuple[str, float, float]]:
    """Name, memory and free memory in GiB of each GPU that NVIDIA's driver shows; looking needs no torch."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):  # no driver
        return []
    rows = [line.rsplit(",", 2) for line in told.splitlines()]
    return [(name.strip(), float(total) / 1024, float(free) / 1024) for name, total, free in rows]


def overview() -> str:
    """Tables of the machine and of all models and checkpoints."""
    register()
    found = gpus()
    named = "; ".join(f"{name}, {total:.1f} GiB, {free:.1f} free" for name, total, free in found)
    largest = max((round(total, 1) for _, total, _ in found), default=None)
    more = "" if largest is None else f"; * more than the {largest} GiB here"
    key = "a key is there: runs are logged online" if has_key() else "no key (`wandb login`): runs stay offline"
    models = {name: needs_of_choice(f"model={name}")[0] for name in choices("model")}
    users: dict[Need, list[str]] = {}
    for choice in CHECKPOINTS:
        for need in needs_of_choice(choice):
            users.setdefault(need, []).append(choice)
    missing = [need for need in [*models.values(), *users] if need.place is None]
    shown = {
        "cores": os.cpu_count(),
        "gpus": named or ("Apple" if sys.platform == "darwin" and platform.machine() == "arm64" else "none"),
        "hub": f"{host()} {'answers' if answers(host()) else 'does not answer'}",
        "models": [[name, _yes(need.place), *memory(name, largest)] for name, need in models.items()],
        "checkpoints": [[need.what, _yes(need.place), ", ".join(some)] for need, some in users.items()],
        "experiments": ", ".join(choices("experiment")),
    }
    return _PAGE.render(shown, key=key, more=more, missing=missing, table=_table)


def memory(name: str, available: float | None = None) -> list[str]:
    """Cells of a model's peaks of memory, ``?`` where they are not known, marked above the GiB available."""
    if name.startswith("avatars"):
        return ["small"] * 4
    peaks = MEMORY_GIB.get(name) or MEASURED_GIB.get(name) or [None] * 4
    marks = ["*" if available is not None and peak is not None and peak > available else "" for peak in peaks]
    return ["?" if peak is None else f"{peak:.1f}{mark}" for peak, mark in zip(peaks, marks, strict=True)]


def _yes(here: object) -> str:
    return "yes" if here else "no"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = tabulate([head, *rows], tablefmt="plain", disable_numparse=True)
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
