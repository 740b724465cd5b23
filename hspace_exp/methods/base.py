"""What a method is: how its vectors are trained, and how they enter h at inference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError, unknown
from hspace_exp.methods.objectives import Objective
from hspace_exp.methods.steering import Edit, Window, strength_of
from hspace_exp.models.hspace import BRANCHES
from hspace_exp.prompts.attributes import Concepts
from hspace_exp.training.on_policy import OnPolicy
from hspace_exp.training.task import Learner, Task

KINDS = ("spatial", "channel")
SOURCES = ("original", "current")
DECAYS = ("none", "cosine")


@dataclass(frozen=True)
class LowFrequency:
    """lambda * LL(h) at inference, Shokrolahi et al. (2026).

    Attributes:
        weight: lambda; 0 switches the term off.
        source: ``original`` takes LL of the unedited run of the same seed, which is then run along; ``current`` of h.
        transform: LL, a function of (B, C, H, W).
        branch: ``both`` halves of guidance, or the ``conditional`` one alone, where guidance multiplies the term; None:
            as the vector.
    """

    weight: float = 0.0
    source: str = "current"
    transform: Callable[[Tensor], Tensor] | None = None
    branch: str | None = None

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.source not in SOURCES:
            raise unknown("source of the low frequencies", self.source, SOURCES)
        if self.branch is not None and self.branch not in BRANCHES:
            raise unknown("branch of the low frequencies", self.branch, BRANCHES)
        if self.weight and self.transform is None:
            raise UserError(f"frequency.weight is {self.weight} but there is no transform: use frequency=haar or none")


@dataclass(frozen=True)
class Training:
    """How vectors are trained.

    Attributes:
        objective: the loss.
        optimizer: makes an optimiser for a list of parameters.
        vector: ``spatial`` (C, H, W) or ``channel`` (C, 1, 1).
        init_std: standard deviation of the initial values; 0 starts at zero.
        batch_size: rows a concept and step.
        timesteps: drawn uniformly from [first, last).
        decay: of the learning rate over the steps: ``none`` or ``cosine`` (to zero).
        pace: optimiser steps for each step of the budget: more where a batch is smaller than others'.
        on_policy: learn from states of the model's own sampling runs instead of from noised images of the attribute.
        presence: also measure the mean h of images that show the concept, which ``focused`` reads; needs ``on_policy``
            with the positive run.
    """

    objective: Objective
    optimizer: Callable[[list[Any]], Any]
    vector: str = "spatial"
    init_std: float = 0.0
    batch_size: int = 8
    timesteps: Sequence[int] = field(default=(0, 1000))
    decay: str = "none"
    on_policy: OnPolicy | None = None
    presence: bool = False
    pace: int = 1

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.vector not in KINDS:
            raise unknown("kind of vector", self.vector, KINDS)
        if self.decay not in DECAYS:
            raise unknown("decay of the learning rate", self.decay, DECAYS)
        if self.presence and (self.on_policy is None or "positive" not in self.on_policy.runs):
            raise UserError("method.training.presence needs on_policy with the run positive")
        if self.on_policy is not None and self.objective.needs_maps:
            raise UserError("states on policy have no attribute maps: use another objective, or on_policy=null")
        if self.on_policy is None and self.objective.parts > 1:
            raise UserError("an objective of several vectors learns from states on policy: name on_policy")
        if self.batch_size < 1 or self.pace < 1:
            given = f"{self.batch_size} and {self.pace}"
            raise UserError(f"expected method.training.batch_size and pace of at least 1, got {given}")
        if len(self.timesteps) != 2 or not 0 <= self.timesteps[0] < self.timesteps[1]:
            raise UserError(f"expected method.training.timesteps [first, last) with first < last, got {self.timesteps}")

    @property
    def needs(self) -> frozenset[str]:
        """What is learnt from, see ``Learner``."""
        if self.on_policy is not None:
            return frozenset(self.on_policy.runs)
        return frozenset({"images", "maps"} if self.objective.needs_maps else {"images"})

    @property
    def subjects(self) -> Sequence[str]:
        """Of ``on_policy``."""
        return () if self.on_policy is None else self.on_policy.subjects

    def learn(self, task: Task) -> dict[str, Concept]:
        """Train the vectors of ``task``."""
        from hspace_exp.training.loop import train  # which knows this class

        return train(task, self)


class MakeEdit(Protocol):
    """Makes a method's edit where it is more than s * v; what ``method.edit`` of the configuration makes."""

    @property
    def keeps(self) -> bool:
        """Whether it holds fast the attribute's ``keep`` groups, whose vectors are then learnt, too."""

    @property
    def composes(self) -> bool:
        """Whether an image can be asked for several concepts at once, one a group."""

    def make(
        self,
        method: Method,
        prompts: Concepts,
        concepts: Mapping[str, Concept],
        others: Mapping[str, Mapping[str, Concept]],
        frequency: LowFrequency,
    ) -> Edit:
        """The edit.

        Args:
            method: whose strength, branch and window hold.
            prompts: of the concepts that can be asked for.
            concepts: these, where the method learns any.
            others: the groups to keep, where ``keeps``.
            frequency: the low-frequency term.
        """


@dataclass(frozen=True)
class Method:
    """A method; with neither ``training`` nor ``edit`` it is the unedited model.

    Attributes:
        name: of the method.
        strength: s; vectors are added as s * v. One number, or one a concept.
        calibration: concept → factor on its strength, where one concept of a method needs less than another; else 1.
        branch: ``both`` halves of guidance or the ``conditional`` one; then v acts guidance_scale times as strongly.
        training: how vectors are found.
        edit: how they are applied; None: h + s * v + lambda * LL(h).
        window: the part of the schedule in which vectors act, [start, stop) as shares of the steps.
    """

    name: str
    strength: float | Mapping[str, float]
    branch: str
    training: Learner | None = None
    edit: MakeEdit | None = None
    window: Sequence[float] = (0.0, 1.0)
    calibration: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.branch not in BRANCHES:
            raise unknown("guidance branch (method.branch)", self.branch, BRANCHES)
        if len(self.window) != 2:
            raise UserError(f"expected method.window [start, stop], got {list(self.window)}")
        Window(*self.window)

    def strength_of(self, name: str) -> float:
        """The strength of one concept, calibrated."""
        return strength_of(self.strength, name) * self.calibration.get(name, 1.0)

    def strengths(self, names: Iterable[str]) -> dict[str, float]:
        """The strength of each concept, calibrated."""
        return {name: self.strength_of(name) for name in names}

    @property
    def needs(self) -> frozenset[str]:
        """What is learnt from; nothing without ``training``."""
        return frozenset() if self.training is None else self.training.needs

    @property
    def subjects(self) -> Sequence[str]:
        """Whom runs that are learnt from are of, see ``Learner``; none: the concepts' own prompts."""
        return () if self.training is None else self.training.subjects

    @property
    def edits(self) -> bool:
        """Whether images are changed at all."""
        return self.training is not None or self.edit is not None

    @property
    def keeps(self) -> bool:
        """Whether the attribute's ``keep`` groups are learnt, too."""
        return self.edit is not None and self.edit.keeps

    @property
    def composes(self) -> bool:
        """Whether an image can be asked for several concepts at once, one a group."""
        return self.edit is None or self.edit.composes
