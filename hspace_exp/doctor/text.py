"""The doctor's findings as plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def show(found: Mapping[str, Any]) -> str:
    """Tables of what ``examine`` found."""
    largest = max((gpu["total_gib"] for gpu in found["machine"]["gpus"]), default=None)
    about = "" if largest is None else f"; * more than the {largest} GiB here"
    lines = ["MACHINE", *_machine(found["machine"])]
    lines += ["", f"MODELS (estimated peak GPU memory in GiB, bfloat16, batch 8 a concept{about})"]
    rows = [["model", "here", "training", "focused", "generation", "focused"]]
    for name, model in found["models"].items():
        memory = model["memory_gib"]
        kinds = ("training", "training_focused", "generation", "generation_focused")
        rows.append([name, _here(model), *(_gib(memory and memory[kind], largest) for kind in kinds)])
    lines += [*_table(rows), "", "CHECKPOINTS"]
    rows = [["checkpoint", "here", "used by"]]
    rows += [[name, _here(one), ", ".join(one["used_by"])] for name, one in found["checkpoints"].items()]
    lines += [*_table(rows), "", "EXPERIMENTS (as they are; add model=… after --experiment for another model)"]
    rows = [["experiment", "ready", "lacks"]]
    for name, needs in found["experiments"].items():
        lacking = [need["what"] for need in needs if not need["here"]]
        rows.append([name, "no" if lacking else "yes", ", ".join(lacking)])
    lines += _table(rows)
    missing = {
        one["what"]: one["how"] for part in ("models", "checkpoints") for one in found[part].values() if not one["here"]
    }
    if missing:
        lines += ["", "HOW TO GET WHAT IS MISSING (fetched on first use where there is a network)"]
        lines += [f"  {what}: {how}" for what, how in missing.items()]
    return "\n".join(lines)


def _machine(machine: Mapping[str, Any]) -> list[str]:
    gpus = [f"{g['name']}, {g['total_gib']} GiB, {g['free_gib']} free" for g in machine["gpus"]]
    key = (
        "a key is there: runs are logged online"
        if machine["wandb_key"]
        else "no key (`wandb login`): runs stay offline"
    )
    return [
        f"  {machine['cpus']} CPU cores; GPUs: {'; '.join(gpus) or ('Apple' if machine['mps'] else 'none')}",
        f"  {machine['hub']} {'answers' if machine['hub_answers'] else 'does not answer'}",
        f"  Weights & Biases: {key}",
    ]


def _gib(value: float | None, largest: float | None) -> str:
    if value is None:
        return "small"
    return f"{value:.1f}{'*' if largest is not None and value > largest else ''}"


def _here(one: Mapping[str, Any]) -> str:
    return "yes" if one["here"] else "no"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
