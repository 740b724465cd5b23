"""What a method is: how its vectors are found, and how they enter h at inference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from hspace_exp.concepts.concept import Concept
from hspace_exp.config.schema import Factor
from hspace_exp.errors import UserError, unknown
from hspace_exp.methods.frequency import LowFrequency
from hspace_exp.methods.learning import Training
from hspace_exp.methods.steering import (
    AddedVector,
    Application,
    Edit,
    Editor,
    Strength,
    UneditedRuns,
    Window,
    strength_of,
    unedited,
)
from hspace_exp.methods.task import Learner
from hspace_exp.models.hspace import BRANCHES
from hspace_exp.prompts.attributes import Concepts


@dataclass(frozen=True)
class Method:
    """A method; with neither ``training`` nor ``edit`` it is the unedited model."""

    name: str
    # s; vectors are added as s * v. One number, or one a concept, or ``auto``: found by the stage ``calibration``
    strength: Strength | Literal["auto"]
    branch: str  # ``both`` halves of guidance or the ``conditional`` one; then v acts guidance_scale times as strongly
    training: Training | Learner | None = None  # how vectors are found
    edit: Editor | None = None  # how they are applied; None: h + s * v + lambda * LL(h)
    window: Sequence[float] = (0.0, 1.0)  # of the schedule, in which vectors act: [start, stop) as shares of the steps
    factor: Factor = 1.0  # of all strengths, found or given

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.branch not in BRANCHES:
            raise unknown("guidance branch (method.branch)", self.branch, BRANCHES)
        if len(self.window) != 2:
            raise UserError(f"expected method.window [start, stop], got {list(self.window)}")
        Window(*self.window)

    def apply(
        self,
        prompts: Concepts,
        concepts: Mapping[str, Concept],
        keep: Mapping[str, Concepts] | None = None,
        frequency: LowFrequency | None = None,
        scale: float = 1.0,
        runs: UneditedRuns | None = None,
    ) -> Edit:
        """The edit of images that are asked for some concepts, each with its prompts.

        ``keep`` holds other attributes' concepts, which are to stay, where the method ``keeps``; ``concepts`` have the
        vectors of all of them. Without ``frequency`` there is no low-frequency term; ``scale``
        is a factor of all that enters the conditional half of guidance alone, see ``guidance_factor``; ``runs`` keeps
        unedited runs for further edits of the same noises.
        """
        own = {name: concepts[name] for name in prompts if name in concepts}
        kept = {group: {name: concepts[name] for name in some} for group, some in (keep or {}).items()}
        low, window = frequency or LowFrequency(), Window(*self.window)
        if (low.branch or self.branch) == "conditional":
            low = replace(low, weight=scale * low.weight)
        scale = scale if self.branch == "conditional" else 1.0
        asked = prompts if self.training is None else own
        strengths = {name: scale * strength for name, strength in self.strengths(asked).items()}
        runs = runs or UneditedRuns(most=0)
        if self.edit is None:
            vectors = {name: one.vector for name, one in own.items()}
            return AddedVector(vectors, strengths, self.branch, low, window, runs)
        application = Application(prompts, own, strengths, self.branch, kept, low, window, scale, runs)
        return partial(self.edit.steer, application)

    def strengths(self, names: Iterable[str]) -> dict[str, float]:
        """The strength of each concept. Raises UserError: none is named for one, or it is still to be found."""
        found = {}
        for name in names:
            if isinstance(self.strength, str):
                raise UserError(f"{name!r} has no strength yet: run the stage calibration, or say method.strength=…")
            found[name] = self.factor * strength_of(self.strength, name)
        return found

    def before(self, edit: Edit, frequency: LowFrequency) -> Edit | None:
        """What makes the unedited images: the first run of ``edit``, where images take two; else None, no edit."""
        return unedited(edit) if frequency.paired or getattr(self.edit, "foresees", False) else None

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
