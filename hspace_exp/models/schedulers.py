"""Which sampler denoises."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import diffusers

from hspace_exp.errors import unknown

KINDS = {"native": None, "ddim": "DDIMScheduler", "dpm": "DPMSolverMultistepScheduler"}


def make_scheduler(native: Any, kind: str = "native") -> Any:
    """A diffusers scheduler for a model that comes with ``native``, whose noise schedule and prediction type are kept.

    The kinds are ``native``, ``ddim`` (Song et al., 2021) and ``dpm`` (DPM-Solver++ 2M; Lu et al., 2022).
    """
    if kind not in KINDS:
        raise unknown("scheduler kind", kind, KINDS)
    name = KINDS[kind]
    return native if name is None else getattr(diffusers, name).from_config(native.config)


@dataclass(frozen=True)
class Swapped:
    """A scheduler of one ``kind`` for the images that are evaluated, see ``make_scheduler``.

    Vectors are learnt from images of another one, ``learnt_with``.
    """

    kind: str
    learnt_with: str = "native"

    def __post_init__(self) -> None:
        """Refuse unknown kinds before anything is made."""
        for kind in (self.kind, self.learnt_with):
            if kind not in KINDS:
                raise unknown("scheduler kind", kind, KINDS)

    def __call__(self, native: Any) -> Any:
        """The scheduler of evaluated images, for a model that comes with ``native``."""
        return make_scheduler(native, self.kind)

    @property
    def learning(self) -> partial[Any]:
        """Makes the scheduler that vectors are learnt with, as ``__call__`` does."""
        return partial(make_scheduler, kind=self.learnt_with)
