"""Everything that a run is made of, and what decides the files that it shares with others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hspace_exp.io.digest import digest, essential
from hspace_exp.masks import ImageMaker, MaskProvider
from hspace_exp.methods.base import Method
from hspace_exp.methods.frequency import LowFrequency
from hspace_exp.methods.learning import RUNS
from hspace_exp.methods.task import MakeTrainer
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import Swapped
from hspace_exp.pipeline.workers import Worker
from hspace_exp.prompts.attributes import ConceptPrompts, Concepts, Group, kept_by, learnt_together, prompts_of
from hspace_exp.prompts.plan import Item
from hspace_exp.prompts.subjects import Wordings, wordings


@dataclass(frozen=True)
class Job:
    """Everything that a run is made of.

    Attributes:
        backbone: the frozen model.
        sampling: how it is sampled.
        method: how vectors are trained and applied.
        frequency: the low-frequency term.
        masks: makes attribute maps.
        attribute: its name.
        asked: the groups of concepts that can be asked for, none where nothing is edited; several in a composition.
        items: images to make.
        training_images: x+ of each concept.
        training_steps: optimiser steps.
        seed: of training.
        image_seed: of all images.
        run_dir: the run's folder.
        cache: what several runs share.
        make_trainer: makes a ``lightning.Trainer``.
        settings: plain data beside the above: the nodes ``training``, ``mask`` and ``precision``, which decide vectors,
            and ``frequency`` and ``applied`` (strength, branch, window, edit), which decide how they are used.
        placing: plain data that decides which image is asked for what.
        masks_file: picture of the attribute maps.
        worker: this process among those that share the run.
    """

    backbone: Backbone
    sampling: Sampling
    method: Method
    frequency: LowFrequency
    masks: MaskProvider
    attribute: str
    asked: tuple[Group, ...]
    items: Sequence[Item]
    training_images: int
    training_steps: int
    seed: int
    image_seed: int
    run_dir: Path
    cache: Path
    make_trainer: MakeTrainer
    settings: Mapping[str, Any] = field(default_factory=dict)
    placing: Mapping[str, Any] = field(default_factory=dict)
    masks_file: str = "masks.png"
    worker: Worker = field(default_factory=lambda: Worker(Path()))

    @property
    def prompts(self) -> dict[str, ConceptPrompts]:
        """Prompts of every concept that can be asked for."""
        return prompts_of(self.asked)

    @property
    def keep(self) -> dict[str, Concepts]:
        """Other attribute → its concepts in the same form, where the method holds them fast."""
        return kept_by(self.asked) if self.method.keeps else {}

    @property
    def teams(self) -> list[Job]:
        """One job for all groups whose vectors are learnt in one go; a plain attribute is its own team."""
        teams = learnt_together(self.asked, self.method.keeps)
        if len(teams) < 2:
            return [self]
        return [replace(self, asked=team, masks_file=f"masks_{team[0].name}.png") for team in teams]

    @property
    def concepts_dir(self) -> Path:
        """Where the concept files are."""
        return self.run_dir / "concepts"

    @property
    def shared_concepts(self) -> Path:
        """Where finished vectors are kept for other runs, which may use them otherwise."""
        return self.cache / self.vectors_made_by

    @property
    def learnt(self) -> dict[str, ConceptPrompts]:
        """Prompts of every concept that is learnt, by name: whichever attribute is asked for, a set is learnt alike."""
        found = {**self.prompts, **{name: some for group in self.keep.values() for name, some in group.items()}}
        if not self.method.subjects:  # whose prompts alone say the adjective
            found = {name: replace(some, adjective="") for name, some in found.items()}
        return {name: found[name] for name in sorted(found)}

    @property
    def worded(self) -> dict[str, Wordings]:
        """The prompts of the runs that every concept is learnt from."""
        return {name: wordings(some, self.method.subjects) for name, some in self.learnt.items()}

    @property
    def groups(self) -> dict[str, str]:
        """The attribute of every concept that is learnt."""
        others = {name: group for group, concepts in self.keep.items() for name in concepts}
        return {**{name: group.name for group in self.asked for name in group.concepts}, **others}

    def part_of(self, name: str) -> str:
        """Mask of rendered images that shows a concept; what is kept is looked for on the whole person."""
        return next((group.part for group in self.asked if name in group.concepts), "person")

    @property
    def learning(self) -> Sampling:
        """How the images and runs that vectors are learnt from are sampled: as all others, unless it is swapped."""
        make = self.sampling.make_scheduler
        return replace(self.sampling, make_scheduler=make.learning) if isinstance(make, Swapped) else self.sampling

    def runs_about(self, prompts: Sequence[str]) -> dict[str, Any]:
        """What decides the sampling runs of some prompts."""
        sampling = self.learning.describe(self.backbone)
        of = {"prompt": prompts[0]} if len(prompts) == 1 else {"prompts": list(prompts)}
        return {"kind": "runs", **of, "sampling": sampling, "image_seed": self.image_seed}

    def positives_about(self, name: str) -> dict[str, Any]:
        """What decides the x+ of a concept."""
        if isinstance(self.masks, ImageMaker):
            made: dict[str, Any] = {"kind": "rendered", "concept": name, "attribute": self.groups[name]}
            made |= {"part": self.part_of(name)}
            made |= {"model": self.backbone.name, "revision": self.backbone.revision}
        else:
            prompts = self.learnt[name]
            made = {"kind": "generated", "prompt": prompts.positive, "words": prompts.words}
            made |= {"sampling": self.learning.describe(self.backbone)}
        return {**made, "image_seed": self.image_seed}

    def maps_about(self, name: str) -> dict[str, Any]:
        """What decides the attribute maps of a concept."""
        about = {"images": self.positives_about(name), "mask": essential(self.settings["mask"])}
        if self.masks.heat == "difference":
            about |= {"prompts": [self.learnt[name].positive, self.learnt[name].neutral]}
        return about

    @property
    def training_settings(self) -> Any:
        """Plain data of the method's training; its batch size is a hyper-parameter."""
        plain: Any = essential({"training": self.settings["training"]})
        return plain["training"]

    @property
    def vectors_made_by(self) -> str:
        """Digest of all that decides the vectors."""
        needs = self.method.needs
        about: dict[str, Any] = {}
        if "images" in needs:
            about = {name: self.positives_about(name) for name in self.learnt}
        if "maps" in needs:
            about = {name: self.maps_about(name) for name in self.learnt}
        for kind in sorted(needs & set(RUNS)):
            about |= {f"{kind} {name}": self.runs_about(getattr(some, kind)) for name, some in self.worded.items()}
        fixed: dict[str, Any] = {"images": self.training_images, "steps": self.training_steps, "seed": self.seed}
        fixed |= {"precision": self.settings["precision"]}
        prompts = {name: some.plain() for name, some in self.learnt.items()}
        return digest({**fixed, "about": about, "prompts": prompts, "training": self.training_settings})
