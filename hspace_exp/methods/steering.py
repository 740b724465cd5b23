"""How a batch of images is steered: the form that every edit takes for the sampling loop, and the plain edit s * v."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from hspace_exp.errors import UserError, unknown
from hspace_exp.methods.frequency import LowFrequency
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit, edit_hspace
from hspace_exp.models.sampling import Hooks
from hspace_exp.prompts.plan import Item


class SampleRows(Protocol):
    """One more sampling run of a batch, from its own noises and prompts."""

    def __call__(self, hooks: Hooks, rows: Tensor | None = None) -> Tensor:
        """Latents (B, C, H, W) under ``hooks``, of all samples or of ``rows`` (long) of them."""


def no_hooks(done: float) -> AbstractContextManager[object]:
    """Leave the U-Net as it is."""
    return nullcontext()


@dataclass(frozen=True)
class Steering:
    """How one batch of images is edited.

    Attributes:
        hooks: what is done to the U-Net at each step.
        paired: whether the unedited runs of the same noises go along as the first half of the batch.
        prompts: of the edited images, where they are not those of the items.
        conduct: takes several sampling runs to make the edited latents, where one is not enough; instead of ``hooks``.
    """

    hooks: Hooks = no_hooks
    paired: bool = False
    prompts: Sequence[str] | None = None
    conduct: Callable[[SampleRows], Tensor] | None = None


class Edit(Protocol):
    """Prepares the steering of a batch of items, each with its ``target`` ("" is left alone)."""

    def __call__(self, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``; ``guided`` says whether batches are laid out [unconditional; conditional]."""


@dataclass(frozen=True)
class Window:
    """Part of the schedule in which an edit acts: from ``start`` to ``stop``, shares of the steps in [0, 1]."""

    start: float = 0.0
    stop: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is empty or outside."""
        if not 0 <= self.start < self.stop <= 1:
            raise UserError(
                f"expected a window 0 <= start < stop <= 1 of the schedule, got {self.start} to {self.stop}"
            )

    def __contains__(self, done: float) -> bool:
        """Whether the step after the share ``done`` is inside."""
        return self.start <= done + 1e-9 < self.stop


Strength = float | Mapping[str, float]


@dataclass(frozen=True)
class Targets:
    """What the samples of a batch are asked for, as tensors.

    Attributes:
        vectors: (B, C, H, W) or (B, C, 1, 1); zeros where nothing is asked for.
        strength: (B,).
    """

    vectors: Tensor
    strength: Tensor
    names: tuple[str, ...] = field(default=())


def targets_of(
    items: Sequence[Item], vectors: Mapping[str, Tensor], strength: Strength, device: torch.device
) -> Targets:
    """Look up each item's vector and strength; of a composition the sum of s * v, with strength 1.

    Args:
        items: with their ``target``.
        vectors: by concept; all of one shape.
        strength: one number, or one a concept.
        device: of the result.
    """
    check_targets(items, vectors)
    nothing = torch.zeros_like(next(iter(vectors.values())))
    chosen, amounts = [], []
    for item in items:
        if len(item.parts) > 1:  # summed in an order that the names alone decide
            terms = [strength_of(strength, name) * vectors[name] for name in sorted(item.parts)]
            chosen.append(torch.stack(terms).sum(0))
            amounts.append(1.0)
        else:
            chosen.append(vectors[item.target] if item.target else nothing)
            amounts.append(strength_of(strength, item.target) if item.target else 0.0)
    return Targets(
        torch.stack(chosen).to(device), torch.tensor(amounts, device=device), tuple(item.target for item in items)
    )


def check_targets(items: Sequence[Item], names: Collection[str]) -> None:
    """Refuse items that ask for a concept that is none of ``names``."""
    for item in items:
        for name in item.parts:
            if name not in names:
                raise unknown("concept", name, names)


def within(items: Sequence[Item], names: Collection[str]) -> list[Item]:
    """The items with only that part of their targets which is one of ``names``, concepts that exclude each other."""
    return [replace(item, target=next((name for name in item.parts if name in names), "")) for item in items]


def strength_of(strength: Strength, name: str) -> float:
    """The strength of one concept."""
    if not isinstance(strength, Mapping):
        return float(strength)
    if name not in strength:
        raise unknown("concept with a strength", name, strength)
    return float(strength[name])


@dataclass(frozen=True)
class AddedVector:
    """h' = h + s * v + lambda * LL(h), Shokrolahi et al. (2026), and with lambda = 0 Li et al. (2024).

    Attributes:
        vectors: (C, H, W) or (C, 1, 1) of each concept.
        strength: s, one number or one a concept.
        branch: ``both`` halves of guidance or the ``conditional`` one.
        frequency: the low-frequency term; its source ``original`` makes the unedited runs go along.
        window: the steps in which the edit acts.
    """

    vectors: Mapping[str, Tensor]
    strength: Strength
    branch: str
    frequency: LowFrequency = field(default_factory=LowFrequency)
    window: Window = field(default_factory=Window)

    def __call__(self, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``."""
        count, device = len(items), backbone.device
        asked = targets_of(items, self.vectors, self.strength, device)
        vectors, strength = asked.vectors, asked.strength
        steered = torch.tensor([float(bool(item.target)) for item in items], device=device)
        weight = self.frequency.weight * steered
        paired = bool(self.frequency.weight) and self.frequency.source == "original"
        common: dict[str, Any] = {"guided": guided, "branch": self.branch}
        if self.frequency.weight:
            common |= {"lowpass": self.frequency.transform, "lowpass_branch": self.frequency.branch}
        if paired:
            unedited = torch.zeros(count, device=device)
            vectors = torch.cat([vectors, vectors])
            strength, weight = torch.cat([unedited, strength]), torch.cat([unedited, weight])
            common["original_index"] = torch.arange(count, device=device).repeat(2)
        edit = HEdit(vector=vectors, strength=strength, lowpass_weight=weight, **common)

        def hooks(done: float) -> AbstractContextManager[object]:
            return edit_hspace(backbone.unet, edit) if done in self.window else nullcontext()

        return Steering(hooks, paired)


def low_frequencies(
    frequency: LowFrequency, branch: str, window: Window, backbone: Backbone, items: Sequence[Item], guided: bool
) -> Steering:
    """The low-frequency term alone, for edits that do something else to h; without a weight it does nothing."""
    if not frequency.weight:
        return Steering()
    nothing = torch.zeros(backbone.h_shape[0], 1, 1)
    vectors = {name: nothing for item in items for name in item.parts} or {"": nothing}
    return AddedVector(vectors, 0.0, branch, frequency, window)(backbone, items, guided)
