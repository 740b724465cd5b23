"""The stages of a run as functions of plain arguments; every one leaves files and finds them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from hspace_exp.concepts import dataset
from hspace_exp.concepts.concept import Concept
from hspace_exp.concepts.dataset import Positives
from hspace_exp.concepts.method import LowFrequency, Method
from hspace_exp.concepts.train import MakeTrainer, finished, train
from hspace_exp.digest import digest, essential
from hspace_exp.errors import UserError
from hspace_exp.generation import Edit, Sampling, claim, generate, take_originals
from hspace_exp.masks import MaskProvider
from hspace_exp.models.backbone import Backbone
from hspace_exp.plan import Item, write_manifest


@dataclass(frozen=True)
class Job:
    """Everything that a run is made of.

    Attributes:
        backbone: the frozen model.
        sampling: how it is sampled.
        method: how vectors are trained and applied.
        frequency: the low-frequency term.
        masks: makes attribute maps.
        attribute: the group's name.
        part: mask of rendered images that shows the attribute.
        prompts: concept → ``positive``, ``neutral`` and ``words``.
        items: images to make.
        training_images: x+ of each concept.
        training_steps: optimiser steps.
        seed: of training.
        image_seed: of all images.
        run_dir: the run's folder.
        cache: what several runs share.
        make_trainer: makes a ``lightning.Trainer``.
        settings: plain data that decides vectors beside the above: the nodes ``training``, ``mask``, ``precision``.
        placing: plain data that decides which image is asked for what.
    """

    backbone: Backbone
    sampling: Sampling
    method: Method
    frequency: LowFrequency
    masks: MaskProvider
    attribute: str
    part: str
    prompts: Mapping[str, Mapping[str, str]]
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

    @property
    def concepts_dir(self) -> Path:
        """Where the concept files are."""
        return self.run_dir / "concepts"

    def positives_about(self, name: str) -> dict[str, Any]:
        """What decides the x+ of a concept."""
        if self.masks.needs_exact:
            made: dict[str, Any] = {"kind": "rendered", "concept": name, "attribute": self.attribute, "part": self.part}
            made |= {"model": self.backbone.name, "revision": self.backbone.revision}
        else:
            prompts = self.prompts[name]
            made = {"kind": "generated", "prompt": prompts["positive"], "words": prompts["words"]}
            made |= {"sampling": self.sampling.describe(self.backbone)}
        return {**made, "image_seed": self.image_seed}

    def maps_about(self, name: str) -> dict[str, Any]:
        """What decides the attribute maps of a concept."""
        return {"images": self.positives_about(name), "mask": essential(self.settings["mask"])}

    @property
    def training_settings(self) -> Any:
        """Plain data of the method's training; its batch size is a hyper-parameter."""
        plain: Any = essential({"training": self.settings["training"]})
        return plain["training"]

    @property
    def vectors_made_by(self) -> str:
        """Digest of all that decides the vectors."""
        about = {name: self.positives_about(name) for name in self.prompts}
        if self.method.needs_maps:
            about = {name: self.maps_about(name) for name in self.prompts}
        fixed: dict[str, Any] = {"images": self.training_images, "steps": self.training_steps, "seed": self.seed}
        fixed |= {"precision": self.settings["precision"]}
        return digest({**fixed, "about": about, "prompts": essential(self.prompts), "training": self.training_settings})


def make_positives(job: Job) -> dict[str, Positives]:
    """Stage ``concepts``: x+ of every concept, from the cache where they are there."""
    found = {}
    for name, prompts in job.prompts.items():
        about = job.positives_about(name)
        if job.masks.needs_exact:
            make = partial(dataset.render_block, job.backbone, job.attribute, name, job.part, image_seed=job.image_seed)
        else:
            make = partial(
                dataset.sample_block,
                job.backbone,
                job.sampling,
                prompts["positive"],
                prompts["words"],
                image_seed=job.image_seed,
            )
        folder = job.cache / digest(about)
        found[name] = dataset.positives(job.backbone, folder, job.training_images, make, about, f"images of {name!r}")
    return found


def make_maps(job: Job, positives: Mapping[str, Positives]) -> dict[str, Tensor] | None:
    """Stage ``masks``: attribute maps of x+, or None where the method needs none."""
    if not job.method.needs_maps:
        return None
    return {
        name: dataset.attribute_maps(
            found, job.masks, job.cache / digest(job.maps_about(name)) / "maps.safetensors", f"maps of {name!r}"
        )
        for name, found in positives.items()
    }


def trained(job: Job) -> dict[str, Concept] | None:
    """The vectors of this configuration, where they are finished."""
    return finished(job.concepts_dir, list(job.prompts), job.vectors_made_by)


def make_concepts(
    job: Job, positives: Mapping[str, Positives], maps: Mapping[str, Tensor] | None
) -> dict[str, Concept]:
    """Stage ``training``: vectors, saved as concept files."""
    training = job.method.training
    if training is None:
        raise UserError(f"method {job.method.name!r} has nothing to train")
    return train(
        job.backbone,
        job.method,
        training,
        job.training_steps,
        attribute=job.attribute,
        prompts=job.prompts,
        latents={name: found.latents for name, found in positives.items()},
        maps=maps,
        folder=job.concepts_dir,
        made_by=job.vectors_made_by,
        seed=job.seed,
        hyperparameters={
            "images": job.training_images,
            "strength": job.method.strength,
            "branch": job.method.branch,
            "training": job.training_settings,
        },
        make_trainer=job.make_trainer,
    )


def make_images(job: Job, concepts: Mapping[str, Concept] | None) -> Path:
    """Stage ``generation``: unedited images (shared through the cache), edited ones, and the manifest.

    Args:
        job: the run.
        concepts: vectors; None for the unedited model.

    Returns:
        the manifest.
    """
    plain = {"kind": "unedited", "sampling": job.sampling.describe(job.backbone), "image_seed": job.image_seed}
    plain |= {"templates": job.placing["templates"]}
    cached = job.cache / digest(plain) / "images"
    generate(job.backbone, job.sampling, job.items, cached, image_seed=job.image_seed, description="unedited images")
    take_originals(job.items, cached, job.run_dir / "images" / "original")
    if concepts is not None:
        for concept in concepts.values():
            concept.check(job.backbone)
        edit = Edit(
            {name: concept.vector for name, concept in concepts.items()},
            job.method.strength,
            job.method.branch,
            job.frequency,
        )
        edited = job.run_dir / "images" / "edited"
        how = {"strength": edit.strength, "branch": edit.branch, "frequency": essential(job.settings["frequency"])}
        claim(edited, digest({**plain, **how, "placing": job.placing, "vectors": job.vectors_made_by}))
        generate(
            job.backbone,
            job.sampling,
            job.items,
            edited,
            image_seed=job.image_seed,
            edit=edit,
            description="edited images",
        )
    return write_manifest(job.run_dir, job.items, job.method.strength, concepts is not None)
