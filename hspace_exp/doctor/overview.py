"""``hspace-exp doctor``: what is here, what is missing, and what to do."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import torch
from omegaconf import OmegaConf
from tabulate import tabulate

from hspace_exp.config.command_line import choices, composed
from hspace_exp.config.trust import check_trust
from hspace_exp.doctor.needs import Need, needs_of
from hspace_exp.models.hub import answers, host
from hspace_exp.results.loggers import has_key

GIB = 2**30
# Estimated peaks of published models on a GPU in GiB: training, with focused, generation, with focused. They follow
# from the models' shapes alone, by benchmarks/memory.py; a test holds them against each other. ``focused`` has an
# unedited run beside the edited one. What it keeps where there is room (``method.training.on_policy.kept_bytes``) is
# not counted. 16 rows are trained at once. Protocols differ in time alone.
MEMORY_GIB = {
    "sd14": (5.9, 5.9, 4.6, 5.2),
    "sd15": (5.9, 5.9, 4.6, 5.2),
    "sd21": (8.8, 8.8, 5.8, 8.1),
    "sdxl": (13.6, 13.6, 10.6, 12.6),
}
# What configurations may ask for: overrides of the default run whose needs are listed.
CHECKPOINTS = (
    "evaluator=photos",
    "evaluator=photos_inception",
    "evaluator=photos_backgrounds",
    "mask=sam_vit_b",
    "mask=sam_vit_b mask.model_type=vit_l",
    "mask=sam_vit_b mask.model_type=vit_h",
)


def tell(overrides: Sequence[str] | None = None, experiment: str = "") -> int:
    """Print what is here, or what an experiment needs; 0, or 1 where that lacks something."""
    logging.disable(logging.WARNING)  # OpenCLIP tells what it reads
    try:
        overrides = overrides or []
        found = needs([f"+experiment={experiment}", *overrides]) if experiment else []
        print(readiness(found) if experiment else overview(overrides), flush=True)
        return int(any(need.place is None for need in found))
    finally:
        logging.disable(logging.NOTSET)


def needs(overrides: Sequence[str]) -> list[Need]:
    """Needs of one configuration."""
    resolved: Any = OmegaConf.to_container(composed(overrides), resolve=True, throw_on_missing=True)
    check_trust(resolved, resolved["trust"])
    return needs_of(resolved)


def readiness(found: Sequence[Need]) -> str:
    """What one experiment needs, a line each, and whether all is here."""
    lines = [f"{need.what}: {'here' if need.place else f'missing; {need.how}'}" for need in found]
    missing = sum(need.place is None for need in found)
    return "\n".join([*lines, f"not ready: {missing} of {len(found)} missing" if missing else "ready"])


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
    lines = [
        "MACHINE",
        f"  {os.cpu_count()} CPU cores; GPUs: {named or ('Apple' if torch.backends.mps.is_available() else 'none')}",
        f"  {host()} {'answers' if answers(host()) else 'does not answer'}",
        f"  Weights & Biases: {key}",
        f"\nMODELS (estimated peak GPU memory in GiB, bfloat16, batch 8 a concept{more})",
        _table(
            ["model", "here", "training", "focused", "generation", "focused"],
            [[name, _yes(need.place), *memory(name, largest)] for name, need in models.items()],
        ),
        "\nCHECKPOINTS",
        _table(["checkpoint", "here", "used by"], [[n.what, _yes(n.place), ", ".join(u)] for n, u in users.items()]),
        "\nEXPERIMENTS (as they are; add model=… after --experiment for another model)",
        _table(["experiment", "ready", "lacks"], [[name, _yes(not some), some] for name, some in lacks.items()]),
    ]
    missing = [f"  {need.what}: {need.how}" for need in [*models.values(), *users] if need.place is None]
    if missing:
        lines += ["\nHOW TO GET WHAT IS MISSING (fetched on first use where there is a network)", *missing]
    return "\n".join(lines)


def memory(name: str, available: float | None = None) -> list[str]:
    """Cells of a model's peaks of memory, those above the GiB that are available marked."""
    peaks = MEMORY_GIB.get(name)
    if peaks is None:
        return ["small"] * 4
    return [f"{peak:.1f}{'*' if available is not None and peak > available else ''}" for peak in peaks]


def _yes(here: object) -> str:
    return "yes" if here else "no"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = tabulate([head, *rows], tablefmt="plain", disable_numparse=True)
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
