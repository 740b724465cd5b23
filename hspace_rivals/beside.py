"""What rivals share: whom they tell apart, and edits of the network beside the low-frequency term of h."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.methods.steering import Application, HooksOfStep, Steering, check_targets, low_frequencies
from hspace_exp.methods.task import Task
from hspace_exp.models.backbone import Backbone, PipelineModel
from hspace_exp.models.sampling import Hooks
from hspace_exp.prompts.plan import Item


def exclusive(task: Task) -> list[tuple[list[str], str]]:
    """The concepts of each attribute, which exclude each other, and their one neutral prompt.

    Raises UserError: an attribute has one concept only, so there is nothing to tell it from, or its concepts have
    several neutral prompts, which would be what tells them apart.
    """
    found = []
    for group in dict.fromkeys(task.groups[name] for name in task.prompts):
        names = [name for name in task.prompts if task.groups[name] == group]
        if len(names) < 2:
            raise UserError(f"{task.method} tells concepts of a group apart, got {names[0]!r} alone in {group!r}")
        neutral = sorted({task.prompts[name].neutral for name in names})
        if len(neutral) > 1:
            given = ", ".join(map(repr, neutral))
            raise UserError(f"expected one neutral prompt for {', '.join(names)}, got {given}")
        found.append((names, neutral[0]))
    return found


def check(application: Application, backbone: Backbone, items: Sequence[Item], edits: str) -> None:
    """Refuse what an edit of no h cannot do; ``edits`` is how the refusal begins, e.g. "uce edits".

    Raises UserError: an item asks for an unknown concept, or the model is that of a pipeline that is being called.
    """
    check_targets(items, application.prompts)
    if isinstance(backbone, PipelineModel):
        raise UserError(f"{edits} no h, which is all that is watched in calls of a pipeline: say generate")


def halves(application: Application, count: int, guided: bool) -> range:
    """First rows of the halves of guidance that the branch names, in a batch of ``count`` samples."""
    first = count if guided and application.branch == "conditional" else 0
    return range(first, 2 * count if guided else count, max(1, count))


def rows_of(application: Application, backbone: Backbone, guided: bool, items: Sequence[Item]) -> dict[str, Tensor]:
    """The rows (long) to edit of each concept that items ask for, in the order in which these name them."""
    starts = halves(application, len(items), guided)
    found = {}
    for name in dict.fromkeys(name for item in items for name in item.parts):
        rows = [start + row for start in starts for row, item in enumerate(items) if name in item.parts]
        found[name] = torch.tensor(rows, device=backbone.device)
    return found


def beside_low_frequencies(
    make: Callable[[Application, Backbone, bool, Sequence[Item]], Hooks],
    application: Application,
    backbone: Backbone,
    items: Sequence[Item],
    guided: bool,
) -> Steering:
    """What ``make`` does at the steps of some items, beside the low-frequency term."""
    term = low_frequencies(application, backbone)

    def of(some: Sequence[Item]) -> HooksOfStep:
        own, low = make(application, backbone, guided, some), term.hooks(backbone, guided, some)

        @contextmanager
        def hooks(done: float, h_0: Tensor | None) -> Iterator[None]:
            with own(done), low(done, h_0) if application.frequency.weight else nullcontext():
                yield

        return hooks

    return term.steering(backbone, items, guided, of)
