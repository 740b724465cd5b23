"""``python -m hspace_exp doctor``: what is here, what is missing, and what to do."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tabulate import tabulate

from hspace_exp.config.command_line import CONF, KNOWN, one_line, stop_printing
from hspace_exp.config.schema import register
from hspace_exp.doctor.machine import machine, memory
from hspace_exp.doctor.needs import Need, needs_of

# What configurations may ask for: overrides of the default run whose needs are listed.
CHECKPOINTS = (
    "evaluator=photos",
    "evaluator=photos_inception",
    "evaluator=photos_backgrounds",
    "mask=sam_vit_b",
    "mask=sam_vit_b mask.model_type=vit_l",
    "mask=sam_vit_b mask.model_type=vit_h",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 1 where an experiment that was asked for lacks something, or 2 for wrong input."""
    parser = argparse.ArgumentParser(
        prog="python -m hspace_exp doctor", description="What runs need, what of it is here, and how to get the rest."
    )
    parser.add_argument("--experiment", metavar="NAME", help="check this one, with the overrides that follow")
    parser.add_argument("--json", action="store_true", help="plain data instead of tables")
    parser.add_argument("overrides", nargs="*", help="of the run, e.g. model=sd15 method=lwim")
    asked = parser.parse_args(arguments)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # OpenCLIP tells what it reads
    register()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            found = needs([f"+experiment={asked.experiment}", *asked.overrides]) if asked.experiment else None
            everything = examine(asked.overrides) if found is None else {}
    except KNOWN as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    finally:
        root.setLevel(level)
    plain = everything if found is None else [_plain(need) for need in found]
    try:
        print(
            json.dumps(plain, indent=1) if asked.json else _show_one(found) if found else show(everything), flush=True
        )
    except BrokenPipeError:
        stop_printing()
    return int(any(need.place is None for need in found or []))


def examine(overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Everything, as plain data; inside Hydra's context."""
    models = {}
    for name in sorted(file.stem for file in (CONF / "model").glob("*.yaml")):
        need = needs([f"model={name}", "method=original", "stages=[generation]"])[0]
        models[name] = {**_plain(need), "memory_gib": memory(name)}
    checkpoints: dict[str, Any] = {}
    for choice in CHECKPOINTS:
        for need in needs(["method=lwim", *choice.split()]):
            if not need.what.startswith("model "):
                entry = checkpoints.setdefault(need.what, {**_plain(need), "used_by": []})
                entry["used_by"].append(choice)
    experiments = {}
    for name in sorted(file.stem for file in (CONF / "experiment").glob("*.yaml")):
        experiments[name] = [_plain(need) for need in needs([f"+experiment={name}", *overrides])]
    return {"machine": machine(), "models": models, "checkpoints": checkpoints, "experiments": experiments}


def needs(overrides: Sequence[str]) -> list[Need]:
    """Needs of one composed configuration."""
    resolved: Any = OmegaConf.to_container(compose("config", list(overrides)), resolve=True, throw_on_missing=True)
    return needs_of(resolved)


def _plain(need: Need) -> dict[str, Any]:
    return {"what": need.what, "here": need.place is not None, "place": need.place, "how": need.how}


def _show_one(found: Sequence[Need]) -> str:
    lines = [f"{need.what}: {'here' if need.place else f'missing; {need.how}'}" for need in found]
    missing = sum(need.place is None for need in found)
    return "\n".join([*lines, f"not ready: {missing} of {len(found)} missing" if missing else "ready"])


def show(found: Mapping[str, Any]) -> str:
    """Tables of what ``examine`` found."""
    here, yes = found["machine"], {True: "yes", False: "no"}
    largest = max((gpu["total_gib"] for gpu in here["gpus"]), default=None)
    about = "" if largest is None else f"; * more than the {largest} GiB here"
    gpus = [f"{g['name']}, {g['total_gib']} GiB, {g['free_gib']} free" for g in here["gpus"]]
    key = "a key is there: runs are logged online" if here["wandb_key"] else "no key (`wandb login`): runs stay offline"
    models = [[name, yes[one["here"]], *_gib(one["memory_gib"], largest)] for name, one in found["models"].items()]
    files = [[name, yes[one["here"]], ", ".join(one["used_by"])] for name, one in found["checkpoints"].items()]
    lacking = {name: [n["what"] for n in needs if not n["here"]] for name, needs in found["experiments"].items()}
    missing = [one for part in ("models", "checkpoints") for one in found[part].values() if not one["here"]]
    lines = [
        "MACHINE",
        f"  {here['cpus']} CPU cores; GPUs: {'; '.join(gpus) or ('Apple' if here['mps'] else 'none')}",
        f"  {here['hub']} {'answers' if here['hub_answers'] else 'does not answer'}",
        f"  Weights & Biases: {key}",
        f"\nMODELS (estimated peak GPU memory in GiB, bfloat16, batch 8 a concept{about})",
        *_table([["model", "here", "training", "focused", "generation", "focused"], *models]),
        "\nCHECKPOINTS",
        *_table([["checkpoint", "here", "used by"], *files]),
        "\nEXPERIMENTS (as they are; add model=… after --experiment for another model)",
        *_table(
            [["experiment", "ready", "lacks"], *([n, yes[not some], ", ".join(some)] for n, some in lacking.items())]
        ),
    ]
    if missing:
        lines += ["\nHOW TO GET WHAT IS MISSING (fetched on first use where there is a network)"]
        lines += [f"  {one['what']}: {one['how']}" for one in missing]
    return "\n".join(lines)


def _gib(memory: Mapping[str, float] | None, largest: float | None) -> list[str]:
    kinds = ("training", "training_focused", "generation", "generation_focused")
    if memory is None:
        return ["small"] * len(kinds)
    return [f"{memory[kind]:.1f}{'*' if largest is not None and memory[kind] > largest else ''}" for kind in kinds]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"  {line}".rstrip() for line in tabulate(rows, tablefmt="plain", disable_numparse=True).splitlines()]


if __name__ == "__main__":
    sys.exit(main())
