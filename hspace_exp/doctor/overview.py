"""``hspace-exp doctor``: what is here, what is missing, and what to do."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from jinja2 import Template
from omegaconf import OmegaConf
from tabulate import tabulate

from hspace_exp.config.command_line import choices, composed
from hspace_exp.config.trust import check_trust
from hspace_exp.doctor.needs import Need, needs_of
from hspace_exp.models.hub import answers, host
from hspace_exp.results.loggers import has_key

GIB = 2**30
_PAGE = Template(Path(__file__).with_name("overview.txt.j2").read_text("utf-8"), trim_blocks=True)
MEMORY_GIB, CHECKPOINTS = yaml.safe_load(Path(__file__).with_name("overview.yaml").read_text("utf-8")).values()


def tell(overrides: Sequence[str] | None = None, experiment: str = "") -> int:
    """Print what is here, or what an experiment needs; 0, or 1 where that lacks something."""
    logging.disable(logging.WARNING)  # OpenCLIP tells what it reads
    try:
        found = needs([f"+experiment={experiment}", *(overrides or ())]) if experiment else []
        missing = sum(need.place is None for need in found)
        lines = [f"{need.what}: {'here' if need.place else f'missing; {need.how}'}" for need in found]
        lines.append(f"not ready: {missing} of {len(found)} missing" if missing else "ready")
        print("\n".join(lines) if experiment else overview(overrides or ()), flush=True)
        return int(missing > 0)
    finally:
        logging.disable(logging.NOTSET)


def needs(overrides: Sequence[str]) -> list[Need]:
    """Needs of one configuration."""
    resolved: Any = OmegaConf.to_container(composed(overrides), resolve=True, throw_on_missing=True)
    check_trust(resolved, resolved["trust"])
    return needs_of(resolved)


def overview(overrides: Sequence[str] = ()) -> str:
    """Tables of the machine and of all models, checkpoints and experiments."""
    gpus = [(torch.cuda.get_device_name(i), *torch.cuda.mem_get_info(i)) for i in range(torch.cuda.device_count())]
    named = "; ".join(f"{name}, {total / GIB:.1f} GiB, {free / GIB:.1f} free" for name, free, total in gpus)
    largest = max((round(total / GIB, 1) for _, _, total in gpus), default=None)
    more = "" if largest is None else f"; * more than the {largest} GiB here"
    key = "a key is there: runs are logged online" if has_key() else "no key (`wandb login`): runs stay offline"
    models = {name: needs([f"model={name}", "method=original", "stages=[generation]"])[0] for name in choices("model")}
    users: dict[Need, list[str]] = {}
    for choice in CHECKPOINTS:
        for need in needs(["method=lwim", *choice.split()]):
            if not need.what.startswith("model "):
                users.setdefault(need, []).append(choice)
    wanted = {name: needs([f"+experiment={name}", *overrides]) for name in choices("experiment")}
    lacks = {name: ", ".join(need.what for need in some if need.place is None) for name, some in wanted.items()}
    missing = [need for need in [*models.values(), *users] if need.place is None]
    shown = {
        "cores": os.cpu_count(),
        "gpus": named or ("Apple" if torch.backends.mps.is_available() else "none"),
        "hub": f"{host()} {'answers' if answers(host()) else 'does not answer'}",
        "models": [[name, _yes(need.place), *memory(name, largest)] for name, need in models.items()],
        "checkpoints": [[need.what, _yes(need.place), ", ".join(some)] for need, some in users.items()],
        "experiments": [[name, _yes(not some), some] for name, some in lacks.items()],
    }
    return _PAGE.render(shown, key=key, more=more, missing=missing, table=_table)


def memory(name: str, available: float | None = None) -> list[str]:
    """Cells of a model's peaks of memory, those above the GiB that are available marked."""
    peaks = MEMORY_GIB.get(name)
    if peaks is None:
        return ["small" if name.startswith("avatars") else "unknown"] * 4
    return [f"{peak:.1f}{'*' if available is not None and peak > available else ''}" for peak in peaks]


def _yes(here: object) -> str:
    return "yes" if here else "no"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = tabulate([head, *rows], tablefmt="plain", disable_numparse=True)
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
