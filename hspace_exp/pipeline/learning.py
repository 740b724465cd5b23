"""From prompts to vectors: the stages ``concepts``, ``masks`` and ``training``, each finding what it left before."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError
from hspace_exp.io.atomic import save_png, write_json
from hspace_exp.io.checksums import clear, note
from hspace_exp.io.digest import Recipe
from hspace_exp.io.images import load_images
from hspace_exp.io.locks import alone
from hspace_exp.io.progress import Seconds
from hspace_exp.io.seeding import LEARNING
from hspace_exp.masks import ImageMaker, MaskProvider
from hspace_exp.masks.heat import heatmaps
from hspace_exp.masks.picture import mask_sheet
from hspace_exp.methods.base import Method
from hspace_exp.methods.learning import RUNS, Training
from hspace_exp.methods.task import MakeTrainer, Task, Trajectories
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.sites import MID_BLOCK
from hspace_exp.prompts.attributes import ConceptPrompts, Concepts, Group, kept_by, prompts_of
from hspace_exp.prompts.wording import Wordings, wordings
from hspace_exp.training import dataset
from hspace_exp.training.dataset import Positives
from hspace_exp.training.loop import finished, train
from hspace_exp.training.on_policy import in_turn, sample_trajectories

log = logging.getLogger(__name__)

# Masks shown of each concept.
PICTURED = 24


@dataclass(frozen=True)
class Learning:
    """Concepts whose vectors are learnt in one go, and the recipes of all files on the way."""

    backbone: Backbone  # the frozen model
    sampling: Sampling  # of the images and runs that are learnt from
    method: Method  # how vectors are learnt
    masks: MaskProvider  # makes attribute maps
    asked: tuple[Group, ...]  # groups of concepts that can be asked for
    images: int  # x+ of each concept
    steps: int  # the budget, optimiser steps
    seed: int  # of training
    image_seed: int  # of the images and runs
    settings: Mapping[str, Any]  # plain data: the nodes ``training`` and ``mask``, ``precision`` and ``applied``
    picture: str = "masks.png"  # of the attribute maps, a file of the run

    @property
    def groups(self) -> dict[str, Concepts]:
        """Attribute → its concepts that are learnt: whichever attribute is asked for, a set is learnt alike."""
        asked = {group.name: group.concepts for group in self.asked}
        return asked | (kept_by(self.asked) if self.method.keeps else {})

    @property
    def attributes(self) -> dict[str, str]:
        """The attribute of every concept that is learnt."""
        return {name: group for group, some in self.groups.items() for name in some}

    @property
    def concepts(self) -> dict[str, ConceptPrompts]:
        """Prompts of every concept that is learnt, in the order of their names."""
        found = {name: prompts for some in self.groups.values() for name, prompts in some.items()}
        if not self.method.subjects:  # whose prompts alone say the adjective
            found = {name: replace(prompts, adjective="") for name, prompts in found.items()}
        return {name: found[name] for name in sorted(found)}

    @property
    def wordings(self) -> dict[str, Wordings]:
        """The prompts of the runs that every concept is learnt from."""
        return {name: wordings(some, self.method.subjects) for name, some in self.concepts.items()}

    def part(self, name: str) -> str:
        """Mask of rendered images that shows a concept; what is kept is looked for on the whole person."""
        return next((group.part for group in self.asked if name in group.concepts), "person")

    def of_runs(self, prompts: Sequence[str]) -> Recipe:
        """Of the sampling runs of some prompts."""
        of = {"prompt": prompts[0]} if len(prompts) == 1 else {"prompts": list(prompts)}
        return Recipe("runs", {**of, **self._sampled})

    def of_positives(self, name: str) -> Recipe:
        """Of the x+ of a concept."""
        if isinstance(self.masks, ImageMaker):
            made = {"concept": name, "attribute": self.attributes[name], "part": self.part(name)}
            made |= {"model": self.backbone.name, "revision": self.backbone.revision}
            return Recipe("rendered", {**made, "image_seed": self.image_seed})
        prompts = self.concepts[name]
        return Recipe("generated", {"prompt": prompts.positive, "words": prompts.words, **self._sampled})

    @property
    def _sampled(self) -> dict[str, Any]:
        return {"sampling": self.sampling.describe(self.backbone), "image_seed": self.image_seed, "domain": LEARNING}

    def of_maps(self, name: str) -> Recipe:
        """Of the attribute maps of a concept."""
        inputs = {"images": self.of_positives(name).plain(), "mask": self.settings["mask"]}
        if self.masks.heat == "difference":
            inputs |= {"prompts": [self.concepts[name].positive, self.concepts[name].neutral]}
        return Recipe("maps", inputs)

    @property
    def of_vectors(self) -> Recipe:
        """Of the vectors."""
        needs = self.method.needs
        about: dict[str, Any] = {}
        if "images" in needs:
            about = {name: self.of_positives(name).plain() for name in self.concepts}
        if "maps" in needs:
            about = {name: self.of_maps(name).plain() for name in self.concepts}
        for kind in sorted(needs & set(RUNS)):
            own = {name: self.of_runs(getattr(some, kind)).plain() for name, some in self.wordings.items()}
            about |= {f"{kind} {name}": plain for name, plain in own.items()}
        inputs = {"images": self.images, "steps": self.steps, "seed": self.seed, "about": about}
        inputs |= {"precision": self.settings["precision"], "training": self.settings["training"]}
        if self.backbone.site != MID_BLOCK:
            inputs |= {"site": self.backbone.site.name}
        return Recipe("vectors", {**inputs, "prompts": {name: some.plain() for name, some in self.concepts.items()}})


def vectors_of(
    learning: Learning, stages: Sequence[str], cache: Path, run_dir: Path, make_trainer: MakeTrainer, seconds: Seconds
) -> dict[str, Concept] | None:
    """Vectors that are there already, or else, as far as the stages say so, learnt ones; None where there are none.

    The run's folder ``concepts`` gets the files, and ``seconds`` those of the stages; see ``Task`` about the trainer.
    """
    wanted = {"concepts", "masks", "training"} & set(stages)
    with alone(learning.of_vectors.folder(cache)):
        there = trained(learning, cache, run_dir)
        unseen = "maps" in learning.method.needs and "masks" in wanted and not (run_dir / learning.picture).exists()
        if not wanted or (there is not None and not unseen):
            return there
        with seconds.of("concepts"):
            positives, runs = make_positives(learning, cache), make_runs(learning, cache)
        if wanted == {"concepts"}:
            return there
        with seconds.of("masks"):
            maps = make_maps(learning, cache, positives, run_dir / learning.picture)
        if there is None and "training" in wanted:
            with seconds.of("training"):
                there = make_concepts(learning, cache, run_dir, make_trainer, positives, maps, runs)
        return there


def trained(learning: Learning, cache: Path, run_dir: Path) -> dict[str, Concept] | None:
    """The vectors of this configuration, where they are finished: in the run's folder, or in the cache."""
    names, recipe, own = list(learning.concepts), learning.of_vectors, run_dir / "concepts"
    for folder in (own, recipe.folder(cache)):
        found = finished(folder, names, recipe.digest)
        if found is not None:
            log.info("vectors of %s are there already: %s", ", ".join(names), folder)
            return _leave(learning, found, own)
    return None


def make_positives(learning: Learning, cache: Path) -> dict[str, Positives]:
    """Stage ``concepts``: x+ of every concept, from the cache where they are there."""
    found: dict[str, Positives] = {}
    if "images" not in learning.method.needs:
        return found
    backbone, masks = learning.backbone, learning.masks
    for name, prompts in learning.concepts.items():
        make: Callable[..., dataset.Block]
        if isinstance(masks, ImageMaker):
            make = partial(masks.make_images, backbone, learning.attributes[name], name, learning.part(name))
        else:
            make = partial(dataset.sample_block, backbone, learning.sampling, prompts.positive, prompts.words)
        make = partial(make, image_seed=learning.image_seed)
        recipe, what = learning.of_positives(name), f"images of {name!r}"
        folder = recipe.folder(cache)
        with alone(folder):
            found[name] = dataset.positives(backbone, folder, learning.images, make, recipe.plain(), what)
    return found


def make_runs(learning: Learning, cache: Path) -> dict[tuple[str, str], Trajectories]:
    """Stage ``concepts``: the sampling runs that a method learns from, in equal shares, from the cache if there."""
    kinds = sorted(learning.method.needs & set(RUNS))
    if not kinds:
        return {}
    prompts: dict[tuple[str, str], tuple[str, ...]] = {
        (name, kind): getattr(some, kind) for name, some in learning.wordings.items() for kind in kinds
    }
    recipes = {some: learning.of_runs(some) for some in prompts.values()}
    folders = {some: recipe.folder(cache) for some, recipe in recipes.items()}
    count, what = -(-learning.images // len(kinds)), f"runs of {len(folders)} kinds of prompts"
    wanted = {folder: in_turn(some, range(count)) for some, folder in folders.items()}
    make = partial(sample_trajectories, learning.backbone, learning.sampling, image_seed=learning.image_seed)
    with ExitStack() as locks:
        for folder in sorted(wanted):  # in one order everywhere, so that two runs cannot wait for each other
            locks.enter_context(alone(folder))
        made = dataset.cached(wanted, make, what, learning.sampling.chunk_size)
        for some, folder in folders.items():
            clear(folder / "manifest.json")
            write_json(folder / "manifest.json", {**recipes[some].plain(), "runs": count})
    runs = {some: Trajectories(**made[folder]) for some, folder in folders.items()}
    return {key: runs[some] for key, some in prompts.items()}


def make_maps(
    learning: Learning, cache: Path, positives: Mapping[str, Positives], picture: Path
) -> dict[str, Tensor] | None:
    """Stage ``masks``: attribute maps of x+, (N, 1, S, S) uint8, and a picture; None where the method needs none."""
    if "maps" not in learning.method.needs:
        return None
    maps = {}
    for name, found in positives.items():
        heat = partial(_difference_heat, learning, name, found) if learning.masks.heat == "difference" else None
        path = learning.of_maps(name).folder(cache) / "maps.safetensors"
        with alone(path.parent):
            maps[name] = dataset.attribute_maps(found, learning.masks, path, f"maps of {name!r}", heat)
    shown = [(name, file) for name, found in positives.items() for file in found.images[:PICTURED]]
    names, files = zip(*shown, strict=True)
    some = torch.cat([each[:PICTURED] for each in maps.values()])
    save_png(picture, mask_sheet(load_images(files), some, names))
    return maps


def _difference_heat(learning: Learning, name: str, found: Positives, indices: Sequence[int]) -> Tensor:
    latents, prompts = found.latents[list(indices)], learning.concepts[name]
    return heatmaps("difference", learning.backbone, latents, prompts, learning.image_seed, indices)


def make_concepts(
    learning: Learning,
    cache: Path,
    run_dir: Path,
    make_trainer: MakeTrainer,
    positives: Mapping[str, Positives],
    maps: Mapping[str, Tensor] | None,
    runs: Mapping[tuple[str, str], Trajectories],
) -> dict[str, Concept]:
    """Stage ``training``: vectors, saved as concept files in the run's folder and, for other runs, in the cache."""
    method, recipe, folder = learning.method, learning.of_vectors, run_dir / "concepts"
    if method.training is None:
        raise UserError(f"method {method.name!r} has nothing to train")
    task = Task(
        backbone=learning.backbone,
        method=method.name,
        groups=learning.attributes,
        prompts=learning.concepts,
        steps=learning.steps,
        seed=learning.seed,
        folder=folder,
        made_by=recipe.digest,
        make_trainer=make_trainer,
        latents={name: found.latents for name, found in positives.items()},
        maps=maps,
        runs=runs,
        hyperparameters={"images": learning.images, "training": learning.settings["training"]},
    )
    concepts = train(task, method.training) if isinstance(method.training, Training) else method.training.learn(task)
    save_all(concepts, recipe.folder(cache))
    shutil.rmtree(folder / ".checkpoints", ignore_errors=True)
    return _leave(learning, concepts, folder)


def _leave(learning: Learning, concepts: Mapping[str, Concept], folder: Path) -> dict[str, Concept]:
    """Write concept files into the run's folder, with the method that they are used with here, and its strength."""
    method, own = learning.method, {}
    strengths: dict[str, dict[str, Any]] = {}
    if not isinstance(method.strength, str):  # else the stage calibration adds it
        found = dict.fromkeys(concepts, method.strength) | method.strengths(prompts_of(learning.asked))
        scale = learning.sampling.scale(learning.backbone)
        strengths = {name: {"strength": strength, "guidance_scale": scale} for name, strength in found.items()}
    for name, concept in concepts.items():
        how = {"branch": method.branch, "applied": learning.settings["applied"]}
        used, attribute = {**concept.hyperparameters, **strengths.get(name, {}), **how}, learning.attributes[name]
        own[name] = replace(concept, method=method.name, attribute=attribute, hyperparameters=used)
    save_all(own, folder)
    return own


def save_all(concepts: Mapping[str, Concept], folder: Path) -> None:
    """Write concept files into a folder, and their checksums."""
    if concepts:
        note(folder, *(concept.save(folder / f"{name}.safetensors") for name, concept in concepts.items()))
