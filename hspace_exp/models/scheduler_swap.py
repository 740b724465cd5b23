"""One sampler to learn with, another to sample with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from hspace_exp.errors import unknown
from hspace_exp.models.schedulers import KINDS, make_scheduler


@dataclass(frozen=True)
class Swapped:
    """A scheduler for the images that are measured, while vectors are learnt from images of another one.

    Attributes:
        kind: of the images that are measured, see ``make_scheduler``.
        learnt_with: kind of those that vectors are learnt from.
    """

    kind: str
    learnt_with: str = "native"

    def __post_init__(self) -> None:
        """Refuse unknown kinds before anything is made."""
        for kind in (self.kind, self.learnt_with):
            if kind not in KINDS:
                raise unknown("scheduler kind", kind, KINDS)

    def __call__(self, native: Any) -> Any:
        """The scheduler of measured images, for a model that comes with ``native``."""
        return make_scheduler(native, self.kind)

    @property
    def learning(self) -> partial[Any]:
        """Makes the scheduler that vectors are learnt with, as ``__call__`` does."""
        return partial(make_scheduler, kind=self.learnt_with)
