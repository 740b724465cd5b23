"""What a method is: how its vectors are trained, and how they enter h at inference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from hspace_exp.concepts.objectives import Objective
from hspace_exp.errors import UserError, unknown
from hspace_exp.models.hspace import BRANCHES

KINDS = ("spatial", "channel")
SOURCES = ("original", "current")


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
        batch_size: images a concept and step.
        timesteps: drawn uniformly from [first, last).
    """

    objective: Objective
    optimizer: Callable[[list[Any]], Any]
    vector: str = "spatial"
    init_std: float = 0.0
    batch_size: int = 8
    timesteps: Sequence[int] = field(default=(0, 1000))

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.vector not in KINDS:
            raise unknown("kind of vector", self.vector, KINDS)
        if self.batch_size < 1:
            raise UserError(f"expected method.training.batch_size of at least 1, got {self.batch_size}")
        if len(self.timesteps) != 2 or not 0 <= self.timesteps[0] < self.timesteps[1]:
            raise UserError(f"expected method.training.timesteps [first, last) with first < last, got {self.timesteps}")


@dataclass(frozen=True)
class Method:
    """A method; without ``training`` it is the unedited model.

    Attributes:
        name: of the method.
        strength: s; vectors are added as s * v.
        branch: ``both`` halves of guidance or the ``conditional`` one; then v acts guidance_scale times as strongly.
        training: how vectors are trained.
    """

    name: str
    strength: float
    branch: str
    training: Training | None = None

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.branch not in BRANCHES:
            raise unknown("guidance branch (method.branch)", self.branch, BRANCHES)

    @property
    def needs_maps(self) -> bool:
        """Whether training looks at attribute maps."""
        return self.training is not None and self.training.objective.needs_maps
