"""Which sampler denoises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from hspace_exp.errors import UserError
from hspace_exp.models.noising import is_flow

Kind = Literal["native", "ddim", "dpm"]
KINDS: dict[Kind, str | None] = {"native": None, "ddim": "DDIMScheduler", "dpm": "DPMSolverMultistepScheduler"}


def make_scheduler(native: Any, kind: Kind = "native") -> Any:
    """A diffusers scheduler for a model that comes with ``native``, whose noise schedule and prediction type are kept.

    The kinds are ``native``, ``ddim`` (Song et al., 2021) and ``dpm`` (DPM-Solver++ 2M; Lu et al., 2022).
    """
    import diffusers  # seconds, which importing this need not take

    name = KINDS[kind]
    if name is not None and is_flow(native):
        raise UserError(f"a flow-matching model is sampled by its own scheduler alone: scheduler=native, not {kind}")
    return native if name is None else getattr(diffusers, name).from_config(native.config)


@dataclass(frozen=True)
class Swapped:
    """A scheduler for the images that are evaluated, see ``make_scheduler``; vectors are learnt with the native one."""

    kind: Kind

    def __call__(self, native: Any) -> Any:
        """The scheduler of evaluated images, for a model that comes with ``native``."""
        return make_scheduler(native, self.kind)
