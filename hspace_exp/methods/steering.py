"""How a batch of images is steered: the form that every edit takes for the sampling loop, and the plain edit s * v."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.config.schema import MOST
from hspace_exp.errors import UserError, unknown
from hspace_exp.methods.frequency import LowFrequency
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit
from hspace_exp.models.sampling import Hooks
from hspace_exp.prompts.attributes import Concepts
from hspace_exp.prompts.plan import Item

# One more sampling run of a batch, under hooks, of all samples or of given rows (long) → latents (B, C, H, W).
SampleRows = Callable[..., Tensor]


@dataclass(frozen=True)
class Foresight:
    """The unedited run goes first, and says what is edited in a second one."""

    read: tuple[Sequence[Tensor], Any]  # by the hooks of the first run: the h of each call of the U-Net, and the gates
    # from what was read: the samples (long) that are sampled once more, and under which hooks, one call after the other
    then: Callable[[Sequence[Tensor], Any], tuple[Tensor, Hooks]]
    runs: UneditedRuns


@dataclass(frozen=True)
class Steering:
    """How one batch of images is edited."""

    hooks: Hooks = nullcontext  # what is done to the U-Net at each step
    prompts: Sequence[str] | None = None  # of the edited images, where they are not those of the items
    foresight: Foresight | None = None  # of an edit in a second run, where ``hooks`` read the unedited one

    def sampled(self, sample: SampleRows, items: Sequence[Item]) -> Tensor:
        """Latents of the edited images of ``items``, by one sampling run or two."""
        late = self.foresight
        if late is None:
            return sample(self.hooks)
        latents, states, gates = late.runs(items, lambda: (sample(self.hooks), *late.read))
        rows, hooks = late.then(states, gates)
        return latents.index_copy(0, rows, sample(hooks, rows)) if len(rows) else latents


# Prepares the steering of a batch of items, each with its ``target`` ("" is left alone); the last argument says whether
# batches are laid out [unconditional; conditional].
Edit = Callable[[Backbone, Sequence[Item], bool], Steering]


def unedited(edit: Edit) -> Edit:
    """What makes the unedited images, by runs that ``edit`` then finds kept."""

    def first(backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        steering = edit(backbone, items, guided)
        late, nobody = steering.foresight, torch.zeros(0, dtype=torch.long)
        if late is None or late.runs.full:
            return Steering()
        return replace(steering, foresight=replace(late, then=lambda states, gates: (nobody, nullcontext)))

    return first


@dataclass(frozen=True)
class Window:
    """Part of the schedule in which an edit acts: from ``start`` to ``stop``, shares of the steps in [0, 1]."""

    start: float = 0.0
    stop: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is empty or outside."""
        if not 0 <= self.start < self.stop <= 1:
            raise UserError(f"expected a window 0 <= start < stop <= 1 of the steps, got {self.start} to {self.stop}")

    def __contains__(self, done: float) -> bool:
        """Whether the step after the share ``done`` is inside."""
        return self.start <= done + 1e-9 < self.stop


Strength = float | Mapping[str, float]


def guidance_factor(stated: float, used: float) -> float:
    """By what an edit of the conditional half is multiplied at the guidance scale in use, stated at another one.

    Guidance multiplies such an edit, but also what it is up against: s (w - 1)^0.4 is what stays, w the scale, as
    measured from 1.5 to 7.5 (experiments/guidance). Below 1.25 there is next to no guidance, and nothing more changes.
    """
    return float((max(stated - 1, 0.25) / max(used - 1, 0.25)) ** 0.4)


# Of B samples: latents (B, C, H, W), the h of each step, and what its attention opened of the gate, if there is one.
Run = tuple[Tensor, Sequence[Tensor], Sequence[Tensor | None] | None]


@dataclass
class UneditedRuns:
    """Unedited runs, kept for edits of the same noises at other strengths, until they take ``most`` bytes."""

    most: int = 2 * 2**30
    taken: int = 0
    full: bool = False  # whether one had no room
    kept: dict[tuple[str, int], Any] = field(default_factory=dict)  # the parts of a run of each sample

    def __call__(self, items: Sequence[Item], make: Callable[[], Run]) -> Run:
        """The run of a batch, which is made where not all of its samples are kept, of whatever batches these were."""
        keys = [(item.prompt, item.seed_index) for item in items]
        if all(key in self.kept for key in keys):
            own, h, opened = zip(*(self.kept[key] for key in keys), strict=True)
            together = [torch.stack(step, 1).flatten(0, 1) for step in zip(*h, strict=True)]
            gates = [None if step[0] is None else torch.stack(step) for step in zip(*opened, strict=True)]
            return torch.stack(own), together, gates
        run = make()
        latents, states, read = run
        size = sum(state.nbytes for state in states)
        self.full = self.full or self.taken + size > self.most
        if self.taken + size <= self.most:
            self.taken += size
            halves = [state.unflatten(0, (-1, len(latents))) for state in states]  # of guidance
            for row, key in enumerate(keys):
                of_row = [None if gate is None else gate[row] for gate in read or ()]
                self.kept[key] = latents[row], [state[:, row] for state in halves], of_row
        return run


@dataclass(frozen=True)
class Application:
    """What is applied, and the method's settings of how: all that an edit knows beside a batch."""

    prompts: Concepts  # concept that can be asked for → its prompts
    concepts: Mapping[str, Concept]  # these, where the method learns any; those of one attribute exclude each other
    strength: Strength  # s, one number or one a concept
    branch: str  # ``both`` halves of guidance or the ``conditional`` one
    # other attribute → its concepts, which are to stay as the unedited image shows them
    kept: Mapping[str, Mapping[str, Concept]] = field(default_factory=dict)
    frequency: LowFrequency = field(default_factory=LowFrequency)  # the low-frequency term
    window: Window = field(default_factory=Window)  # the steps in which vectors act
    scale: float = 1.0  # that ``strength`` and ``frequency`` are multiplied by already, and all else is to be
    runs: UneditedRuns = field(default_factory=partial(UneditedRuns, most=0))


class Editor(Protocol):
    """An edit that is more than s * v: the class that ``method.edit`` of the configuration names."""

    @property
    def keeps(self) -> bool:
        """Whether the attribute's ``keep`` groups are held, whose vectors are then learnt, too."""

    @property
    def composes(self) -> bool:
        """Whether an image can be asked for several concepts at once, one a group."""

    def steer(self, application: Application, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``; ``guided`` says whether batches are laid out [unconditional; conditional]."""


def strength_of(strength: Strength, name: str) -> float:
    """The strength of one concept. Raises UserError: there is none for it, or it is beyond ``MOST``."""
    if isinstance(strength, Mapping) and name not in strength:
        raise unknown("concept with a strength", name, strength)
    given = float(strength[name] if isinstance(strength, Mapping) else strength)
    if not abs(given) <= MOST:
        raise UserError(f"expected a strength of {name} between -{MOST:g} and {MOST:g}, got {given}")
    return given


def check_targets(items: Sequence[Item], names: Collection[str]) -> None:
    """Refuse items that ask for a concept that is none of ``names``."""
    for item in items:
        for name in item.parts:
            if name not in names:
                raise unknown("concept", name, names)


def targets_of(
    items: Sequence[Item], vectors: Mapping[str, Tensor], strength: Strength, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Look up each item's vector and strength; of a composition the sum of s * v, with strength 1.

    Of vectors (C, H, W) or (C, 1, 1) of each concept; (B, C, H, W) or (B, C, 1, 1) vectors, and (B,) strengths, on
    ``device``; zeros where nothing is asked for.
    """
    check_targets(items, vectors)
    vectors = dict(zip(vectors, torch.broadcast_tensors(*vectors.values()), strict=True))
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
    return torch.stack(chosen).to(device), torch.tensor(amounts, device=device)


# Share of the schedule, and the h (rows, C, H, W) of the unedited run, where there is one → the hooks of the step.
HooksOfStep = Callable[[float, Tensor | None], AbstractContextManager[object]]


@dataclass(frozen=True)
class AddedVector:
    """h' = h + s * v + lambda * LL(h), Shokrolahi et al. (2026), and with lambda = 0 Li et al. (2024).

    ``vectors`` are the concepts', (C, H, W) or (C, 1, 1) each; ``Application`` says what the rest is.
    """

    vectors: Mapping[str, Tensor]
    strength: Strength
    branch: str
    frequency: LowFrequency = field(default_factory=LowFrequency)
    window: Window = field(default_factory=Window)
    runs: UneditedRuns = field(default_factory=partial(UneditedRuns, most=0))

    def __call__(self, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``."""
        return self.steering(backbone, items, guided, partial(self.hooks, backbone, guided))

    def hooks(self, backbone: Backbone, guided: bool, items: Sequence[Item]) -> HooksOfStep:
        """What is done to h of ``items``."""
        vectors, strength = targets_of(items, self.vectors, self.strength, backbone.device)
        asked = [float(bool(item.target)) for item in items]
        edit = HEdit(
            vector=vectors,
            strength=strength,
            lowpass=self.frequency.lowpass,
            lowpass_weight=self.frequency.weight * torch.tensor(asked, device=backbone.device),
            lowpass_branch=self.frequency.branch,
            guided=guided,
            branch=self.branch,
        )

        def hooks(done: float, h_0: Tensor | None) -> AbstractContextManager[object]:
            inside = done in self.window
            return backbone.edited(replace(edit, original=h_0)) if inside else nullcontext()

        return hooks

    def steering(
        self, backbone: Backbone, items: Sequence[Item], guided: bool, make: Callable[[Sequence[Item]], HooksOfStep]
    ) -> Steering:
        """What ``make`` does to h of some items, beside the unedited run's where the low frequencies are of that.

        Items that are asked for nothing are not run again then.
        """
        if not self.frequency.paired:
            own = make(items)
            return Steering(lambda done: own(done, None))
        read = list[Tensor]()

        def then(states: Sequence[Tensor], _: object) -> tuple[Tensor, Hooks]:
            asked = [row for row, item in enumerate(items) if item.target]
            rows = torch.tensor(asked, dtype=torch.long, device=backbone.device)
            if not asked:
                return rows, lambda done: nullcontext()
            of_batch = torch.cat([rows, rows + len(items)]) if guided else rows
            hooks, left = make([items[row] for row in asked]), iter(states)
            return rows, lambda done: hooks(done, next(left)[of_batch])

        return Steering(lambda done: backbone.edited(read.append), foresight=Foresight((read, None), then, self.runs))


def low_frequencies(application: Application, backbone: Backbone) -> AddedVector:
    """The low-frequency term alone, for edits that do something else to h."""
    a = application
    vectors = dict.fromkeys(a.prompts, torch.zeros(backbone.h_shape[0], 1, 1))
    return AddedVector(vectors, 0.0, a.branch, a.frequency, a.window, a.runs)
