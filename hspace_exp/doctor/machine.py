"""What a machine offers, and how much of its GPU each model takes."""

from __future__ import annotations

import os
from typing import Any

import torch

from hspace_exp.doctor.needs import answers, hub_host
from hspace_exp.results.loggers import has_key

GIB = 2**30
KINDS = ("weights", "training", "training_focused", "generation", "generation_focused")
# From the models' shapes alone, by benchmarks/memory.py; a test holds them against each other.
MEMORY_GIB = {
    "sd14": (2.1, 5.9, 5.9, 4.6, 5.2),
    "sd15": (2.1, 5.9, 5.9, 4.6, 5.2),
    "sd21": (2.6, 8.8, 8.8, 5.8, 8.1),
    "sdxl": (6.6, 13.6, 13.6, 10.6, 12.6),
}


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


def memory(name: str) -> dict[str, float] | None:
    """Estimated peaks of a published model on a GPU in GiB, as conf/model sets it up; None of a small one.

    ``*_focused`` is with an unedited run beside the edited one; 16 rows are trained at once. What ``focused`` keeps
    where there is room (``method.training.on_policy.kept_bytes``) is not counted. Protocols differ in time alone.
    """
    return dict(zip(KINDS, MEMORY_GIB[name], strict=True)) if name in MEMORY_GIB else None
