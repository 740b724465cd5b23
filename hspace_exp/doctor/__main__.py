"""``python -m hspace_exp doctor``: what is here, what is missing, and what to do."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from hspace_exp.config.command_line import CONF, KNOWN, one_line, stop_printing
from hspace_exp.config.schema import register
from hspace_exp.doctor.needs import Need, needs_of

# What configurations may ask for: overrides of the default run whose needs are listed.
CHECKPOINTS = (
    "evaluator=photos",
    "evaluator=photos_inception",
    "evaluator=photos_backgrounds",
    "evaluator=avatars_efficientnet",
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
            if asked.experiment:
                return _one([f"+experiment={asked.experiment}", *asked.overrides], asked.json)
            found = examine(asked.overrides)
    except KNOWN as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    finally:
        root.setLevel(level)
    from hspace_exp.doctor.text import show

    try:
        print(json.dumps(found, indent=1) if asked.json else show(found), flush=True)
    except BrokenPipeError:
        stop_printing()
    return 0


def examine(overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Everything, as plain data; inside Hydra's context."""
    from hspace_exp.doctor.machine import machine, memory

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


def _one(overrides: Sequence[str], as_json: bool) -> int:
    found = needs(overrides)
    missing = [need for need in found if need.place is None]
    if as_json:
        print(json.dumps([_plain(need) for need in found], indent=1))
    else:
        for need in found:
            print(f"{need.what}: {'here' if need.place else f'missing; {need.how}'}")
        print("ready" if not missing else f"not ready: {len(missing)} of {len(found)} missing")
    return 1 if missing else 0


def _plain(need: Need) -> dict[str, Any]:
    return {"what": need.what, "here": need.place is not None, "place": need.place, "how": need.how}


if __name__ == "__main__":
    sys.exit(main())
