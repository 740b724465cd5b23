"""What a machine offers, and how much of its GPU each model takes."""

from __future__ import annotations

import functools
import os
from typing import Any

import torch

from hspace_exp.doctor.needs import hub_host
from hspace_exp.doctor.require import answers
from hspace_exp.models.layouts import LAYOUTS
from hspace_exp.models.memory import Estimate, estimate
from hspace_exp.results.loggers import has_key

GIB = 2**30


def machine() -> dict[str, Any]:
    """Devices, keys and whether the hub answers; plain data."""
    gpus = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        gpus.append({"name": name, "total_gib": round(total / GIB, 1), "free_gib": round(free / GIB, 1)})
    return {
        "cpus": os.cpu_count(),
        "gpus": gpus,
        "mps": torch.backends.mps.is_available(),
        "hub": hub_host(),
        "hub_answers": answers(hub_host()),
        "wandb_key": has_key(),
    }


@functools.cache
def _peaks(twin: str) -> tuple[Estimate, Estimate]:
    """Without an unedited run beside the edited one, and with one, as ``focused`` works; 16 rows are trained at once.

    What it keeps where there is room (``method.training.on_policy.kept_bytes``) is not needed, and not counted.
    """
    return estimate(LAYOUTS[twin], rows=16, runs=1), estimate(LAYOUTS[twin], rows=16, runs=2)


def memory(name: str) -> dict[str, float]:
    """Estimated peaks on a GPU in GiB, as conf/model sets the model up; protocols differ in time, not in these."""
    plain, focused = _peaks(next(other for other, layout in LAYOUTS.items() if layout is LAYOUTS[name]))
    found = {
        "weights": plain.weights,
        "training": plain.training,
        "training_focused": focused.training,
        "generation": max(plain.generation, plain.decoding),
        "generation_focused": max(focused.generation, focused.decoding),
    }
    return {kind: round(value / GIB, 1) for kind, value in found.items()}
