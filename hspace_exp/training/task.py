"""What a way of learning is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import lightning
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import Concepts
from hspace_exp.training.trajectories import Trajectories

MakeTrainer = Callable[..., lightning.Trainer]


@dataclass(frozen=True)
class Task:
    """Concepts to be found, and all that they can be learnt from.

    Attributes:
        backbone: frozen.
        method: its name, for the files.
        groups: concept → the attribute that it belongs to.
        prompts: concept → its prompts.
        steps: the budget: optimiser steps, or what stands for them.
        seed: of learning.
        latents: concept → (N, C, H, W) of x+, where ``Learner.needs`` has ``images``.
        maps: concept → (N, 1, S, S) uint8 attribute maps of x+, where it has ``maps``.
        runs: concept and kind of prompt → sampling runs, where it has ``neutral`` or ``positive``.
        folder: of the concept files.
        made_by: digest of all that decides the vectors.
        hyperparameters: kept in the files.
        make_trainer: makes a ``lightning.Trainer``.
    """

    backbone: Backbone
    method: str
    groups: Mapping[str, str]
    prompts: Concepts
    steps: int
    seed: int
    folder: Path
    made_by: str
    make_trainer: MakeTrainer
    latents: Mapping[str, Tensor] = field(default_factory=dict)
    maps: Mapping[str, Tensor] | None = None
    runs: Mapping[tuple[str, str], Trajectories] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    def concept(self, name: str, vector: Tensor, presence: Tensor | None = None, **found: Any) -> Concept:  # noqa: ANN401
        """The concept file of a vector; ``found`` are further hyper-parameters."""
        return Concept(
            vector=vector,
            name=name,
            attribute=self.groups[name],
            model=self.backbone.name,
            revision=self.backbone.revision,
            h_shape=self.backbone.h_shape,
            method=self.method,
            prompts=self.prompts[name].plain(),
            hyperparameters={**self.hyperparameters, **found, "steps": self.steps, "made_by": self.made_by},
            seed=self.seed,
            presence=presence,
        )


def passes(forward: int, backward: int = 0) -> dict[str, int]:
    """The hyper-parameter ``unet_evaluations``: passes of one row through the U-Net that a concept took to learn.

    A pass through one half counts as whole. The sampling of what is learnt from (images or runs) is left out: it is the
    same for all methods, 2 T passes for each of ``images`` runs of T guided steps.
    """
    return {"forward": forward, "backward": backward}


class Learner(Protocol):
    """A way to find vectors; what ``method.training`` of the configuration makes."""

    @property
    def needs(self) -> frozenset[str]:
        """Of ``images`` (x+), ``maps`` (of x+), and the runs ``neutral`` and ``positive``."""

    @property
    def subjects(self) -> Sequence[str]:
        """Of the prompts that runs are sampled of, see ``wordings``; none for the concepts' own prompts."""

    def learn(self, task: Task) -> dict[str, Concept]:
        """The concepts, not saved yet. What it leaves half-way in ``task.folder`` it removes when done."""
