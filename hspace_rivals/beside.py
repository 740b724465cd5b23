"""Edits that do something else to the network, beside the low-frequency term of h."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from torch import Tensor

from hspace_exp.methods.steering import Application, HooksOfStep, Steering, low_frequencies
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Hooks
from hspace_exp.prompts.plan import Item


def beside_low_frequencies(
    application: Application, backbone: Backbone, items: Sequence[Item], guided: bool, make: Callable[..., Hooks]
) -> Steering:
    """What ``make`` does at the steps of some items, beside the low-frequency term."""
    term = low_frequencies(application, backbone)

    def of(some: Sequence[Item]) -> HooksOfStep:
        own, low = make(some), term.hooks(backbone, guided, some)

        @contextmanager
        def hooks(done: float, h_0: Tensor | None) -> Iterator[None]:
            with own(done), low(done, h_0) if application.frequency.weight else nullcontext():
                yield

        return hooks

    return term.steering(backbone, items, guided, of)
