"""h of the states that sampling runs pass through, as rows for methods that learn from h itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.io.progress import track
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.split import encode
from hspace_exp.prompts.attributes import Concepts
from hspace_exp.training.rows_at_once import rows_without_gradient
from hspace_exp.training.task import Task
from hspace_exp.training.trajectories import Trajectories


@torch.no_grad()
def h_of_runs(backbone: Backbone, runs: Trajectories, prompt: str, count: int, description: str = "h") -> Tensor:
    """(N, T, C, H, W) float32 on the CPU: h under ``prompt`` at the states of the first ``count`` runs."""
    latents, times = runs.latents[:count], runs.timesteps[:count]
    embeds = backbone.encode_prompts([prompt])
    rows = rows_without_gradient(backbone)
    pairs = list(zip(latents.flatten(0, 1).split(rows), times.flatten().split(rows), strict=True))
    found = [
        encode(backbone, some, t.to(backbone.device), embeds.expand(len(some))).h.float().cpu()
        for some, t in track(pairs, description=description)
    ]
    return torch.cat(found).unflatten(0, times.shape)


def runs_within(states: int, runs: Trajectories) -> int:
    """How many runs have at most ``states`` states together, and at least two."""
    return max(2, min(len(runs.latents), states // runs.latents.shape[1]))


def exclusive(task: Task) -> dict[str, list[str]]:
    """Attribute → its concepts, which exclude each other.

    Raises:
        UserError: an attribute has one concept only, so there is nothing to tell it from.
    """
    groups: dict[str, list[str]] = {}
    for name in task.prompts:
        groups.setdefault(task.groups[name], []).append(name)
    for group, names in groups.items():
        if len(names) < 2:
            raise UserError(f"{task.method} tells concepts of a group apart, got {names[0]!r} alone in {group!r}")
    return groups


def neutral_of(prompts: Concepts, names: Sequence[str]) -> str:
    """The one neutral prompt of concepts that are told apart.

    Raises:
        UserError: they have several, which would be what tells them apart.
    """
    neutral = {prompts[name].neutral for name in names}
    if len(neutral) > 1:
        given = ", ".join(repr(prompt) for prompt in sorted(neutral))
        raise UserError(f"expected one neutral prompt for {', '.join(names)}, got {given}")
    return neutral.pop()
