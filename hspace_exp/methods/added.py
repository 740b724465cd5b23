"""The plain edit: s * v is added to h, and lambda * LL(h) where it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.methods.base import LowFrequency, Method
from hspace_exp.methods.steering import Edit, Steering, Strength, Window, targets_of
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit, edit_hspace
from hspace_exp.prompts.attributes import Concepts
from hspace_exp.prompts.plan import Item


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


def make_edit(
    method: Method,
    frequency: LowFrequency,
    prompts: Concepts,
    keep: Mapping[str, Concepts],
    concepts: Mapping[str, Concept],
) -> Edit:
    """A method's edit.

    Args:
        method: whose edit.
        frequency: the low-frequency term.
        prompts: concept that can be asked for → its prompts.
        keep: other attribute → its concepts in the same form, to be held fast.
        concepts: the vectors of both.
    """
    own = {name: concepts[name] for name in prompts if name in concepts}
    if method.edit is None:
        vectors = {name: concept.vector for name, concept in own.items()}
        return AddedVector(vectors, method.strengths(own), method.branch, frequency, Window(*method.window))
    others = {group: {name: concepts[name] for name in some} for group, some in keep.items()}
    return method.edit.make(method, prompts, own, others, frequency)
