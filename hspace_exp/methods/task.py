"""What a way of learning is given, and what it gives back; and h at the states that it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.io.progress import track
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.split import encode
from hspace_exp.prompts.attributes import Concepts

MakeTrainer = Callable[..., Any]  # → a lightning.Trainer, which is imported where training starts


@dataclass(frozen=True)
class Trajectories:
    """N sampling runs of one prompt, or of several in turn."""

    latents: Tensor  # (N, T, C, H, W) float32 model inputs, before each of T steps
    timesteps: Tensor  # (N, T) long, or float32 of flow matching

    def prompt_of(self, prompts: int) -> Tensor:
        """(N T,) which of so many prompts each state is of."""
        count, steps = self.timesteps.shape
        return (torch.arange(count) % prompts).repeat_interleave(steps)

    def h(self, backbone: Backbone, prompts: Sequence[str], description: str) -> Iterator[Tensor]:
        """H (rows, C, H, W) at the states, some at a time, under prompts that the runs take in turn."""
        embeds, rows = backbone.encode_prompts(prompts), backbone.rows_without_gradient
        whole = self.latents.flatten(0, 1), self.timesteps.flatten(), self.prompt_of(len(prompts))
        for latents, t, of in track(list(zip(*(some.split(rows) for some in whole), strict=True)), description):
            there = embeds.index(of.to(backbone.device))
            yield encode(backbone, latents, t.to(backbone.device), there).h


@dataclass(frozen=True)
class Task:
    """Concepts to be found, and all that they can be learnt from."""

    backbone: Backbone  # frozen
    method: str  # its name, for the files
    groups: Mapping[str, str]  # concept → the attribute that it belongs to
    prompts: Concepts  # concept → its prompts
    steps: int  # the budget: optimiser steps, or what stands for them
    seed: int  # of learning
    folder: Path  # of the concept files
    made_by: str  # digest of all that decides the vectors
    make_trainer: MakeTrainer  # makes a ``lightning.Trainer``
    # concept → (N, C, H, W) of x+, where ``Learner.needs`` has ``images``
    latents: Mapping[str, Tensor] = field(default_factory=dict)
    maps: Mapping[str, Tensor] | None = None  # concept → (N, 1, S, S) uint8 attribute maps of x+, where it has ``maps``
    # concept and kind of prompt → sampling runs, where it has ``neutral`` or ``positive``
    runs: Mapping[tuple[str, str], Trajectories] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)  # kept in the files

    def concept(self, name: str, vector: Tensor, presence: Tensor | None = None, **found: Any) -> Concept:  # noqa: ANN401
        """The concept file of a vector; ``found`` are its ``site``, if it is not the model's, and hyper-parameters.

        One of these is ``unet_evaluations``, ``forward`` and ``backward``: passes of one row through the U-Net that the
        concept took to learn. A pass through one half counts as whole. The sampling of what is learnt from (images or
        runs) is left out: it is the same for all methods, 2 T passes for each of ``images`` runs of T guided steps.
        """
        return Concept(
            vector=vector,
            name=name,
            attribute=self.groups[name],
            model=self.backbone.name,
            revision=self.backbone.revision,
            h_shape=self.backbone.h_shape,
            site=found.pop("site", self.backbone.site.name),
            method=self.method,
            prompts=self.prompts[name].plain(),
            hyperparameters={**self.hyperparameters, **found, "steps": self.steps, "made_by": self.made_by},
            seed=self.seed,
            presence=presence,
        )


class Learner(Protocol):
    """A way to find vectors of its own: what ``method.training`` names where it is not ``Training``."""

    @property
    def needs(self) -> frozenset[str]:
        """Of ``images`` (x+), ``maps`` (of x+), and the runs ``neutral`` and ``positive``."""

    @property
    def subjects(self) -> Sequence[str]:
        """Of the prompts that runs are sampled of, see ``wordings``; none for the concepts' own prompts."""

    def learn(self, task: Task) -> dict[str, Concept]:
        """The concepts, not saved yet. What it leaves half-way in ``task.folder`` it removes when done."""


@torch.no_grad()
def h_of_runs(task: Task, name: str, kind: str, states: int, prompt: str) -> Tensor:
    """(N, T, C, H, W) float32 on the CPU: h under ``prompt`` at the states of N sampling runs of T steps.

    The runs are those of a concept and of a ``kind``; at most so many ``states`` are taken, but at least two runs.
    """
    runs = task.runs[name, kind]
    count = max(2, min(len(runs.latents), states // runs.latents.shape[1]))
    runs = Trajectories(runs.latents[:count], runs.timesteps[:count])
    found = [h.float().cpu() for h in runs.h(task.backbone, [prompt], f"h of {name!r}")]
    return torch.cat(found).unflatten(0, runs.timesteps.shape)
