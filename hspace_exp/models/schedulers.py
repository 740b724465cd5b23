"""Which sampler denoises: the model's own, or another one on the same noise schedule."""

from __future__ import annotations

from typing import Any

import diffusers

from hspace_exp.errors import unknown

KINDS = {"native": None, "ddim": "DDIMScheduler", "dpm": "DPMSolverMultistepScheduler"}


def make_scheduler(native: Any, kind: str = "native") -> Any:
    """A diffusers scheduler for a model that comes with ``native``.

    Args:
        native: the model's own scheduler; its noise schedule and prediction type are kept.
        kind: ``native``, ``ddim`` (Song et al., 2021) or ``dpm`` (DPM-Solver++ 2M; Lu et al., 2022).
    """
    if kind not in KINDS:
        raise unknown("scheduler kind", kind, KINDS)
    name = KINDS[kind]
    return native if name is None else getattr(diffusers, name).from_config(native.config)
