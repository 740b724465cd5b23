"""The stages of a run as functions of plain arguments; every one leaves files and finds them again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError
from hspace_exp.generation.generate import claim, generate, take_originals
from hspace_exp.generation.manifest import write_manifest
from hspace_exp.io.atomic import save_png, write_json
from hspace_exp.io.digest import digest, essential
from hspace_exp.io.images import load_images
from hspace_exp.io.locks import FOLDER, alone
from hspace_exp.masks import ImageMaker
from hspace_exp.masks.heat import heatmaps
from hspace_exp.masks.picture import mask_sheet
from hspace_exp.methods.learning import RUNS
from hspace_exp.methods.steering import Edit
from hspace_exp.methods.task import Task, Trajectories
from hspace_exp.pipeline.job import Job
from hspace_exp.training import dataset
from hspace_exp.training.dataset import Positives
from hspace_exp.training.loop import finished, learn
from hspace_exp.training.trajectories import sample_trajectories

# Masks shown of each concept.
PICTURED = 24


def make_runs(job: Job) -> dict[tuple[str, str], Trajectories]:
    """Stage ``concepts``: the sampling runs that a method learns from, in equal shares, from the cache if there."""
    kinds = sorted(job.method.needs & set(RUNS))
    if not kinds:
        return {}
    prompts: dict[tuple[str, str], tuple[str, ...]] = {
        (name, kind): getattr(some, kind) for name, some in job.worded.items() for kind in kinds
    }
    abouts = {some: job.runs_about(some) for some in prompts.values()}
    folders = {some: job.cache / digest(about) for some, about in abouts.items()}
    count = -(-job.training_images // len(kinds))
    make = partial(sample_trajectories, job.backbone, job.learning, image_seed=job.image_seed)
    with ExitStack() as locks:
        for folder in sorted(folders.values()):  # in one order everywhere, so that two runs cannot wait for each other
            locks.enter_context(alone(folder))
        made = dataset.trajectories(folders, count, make, job.learning.chunk_size)
        for some, folder in folders.items():
            write_json(folder / "manifest.json", {**abouts[some], "runs": count})
    return {key: made[some] for key, some in prompts.items()}


def make_positives(job: Job) -> dict[str, Positives]:
    """Stage ``concepts``: x+ of every concept, from the cache where they are there."""
    found: dict[str, Positives] = {}
    if "images" not in job.method.needs:
        return found
    for name, prompts in job.learnt.items():
        about = job.positives_about(name)
        if isinstance(job.masks, ImageMaker):
            shown = job.groups[name], name, job.part_of(name)
            make = partial(job.masks.make_images, job.backbone, *shown, image_seed=job.image_seed)
        else:
            make = partial(
                dataset.sample_block,
                job.backbone,
                job.learning,
                prompts.positive,
                prompts.words,
                image_seed=job.image_seed,
            )
        folder = job.cache / digest(about)
        what = f"images of {name!r}"
        with alone(folder):
            found[name] = dataset.positives(job.backbone, folder, job.training_images, make, about, what)
    return found


def make_maps(job: Job, positives: Mapping[str, Positives], seconds: dict[str, float]) -> dict[str, Tensor] | None:
    """Stage ``masks``: attribute maps of x+ and their picture, or None where the method needs none.

    ``seconds`` gets what a map cost, heat included, when it was made: ``masks_per_image``.
    """
    if "maps" not in job.method.needs:
        return None
    maps, costs = {}, []
    for name, found in positives.items():
        heat = partial(_difference_heat, job, name, found) if job.masks.heat == "difference" else None
        path = job.cache / digest(job.maps_about(name)) / "maps.safetensors"
        with alone(path.parent):
            maps[name], cost = dataset.attribute_maps(found, job.masks, path, f"maps of {name!r}", heat)
        costs.append(cost)
    seconds["masks_per_image"] = sum(costs) / len(costs)
    shown = {name: found.images[:PICTURED] for name, found in positives.items()}
    images = torch.cat([load_images(files) for files in shown.values()])
    some = torch.cat([maps[name][: len(files)] for name, files in shown.items()])
    labels = [name for name, files in shown.items() for _ in files]
    save_png(job.run_dir / job.masks_file, mask_sheet(images, some, labels))
    return maps


def _difference_heat(job: Job, name: str, found: Positives, indices: Sequence[int]) -> Tensor:
    latents = found.latents[list(indices)]
    return heatmaps("difference", job.backbone, latents, job.learnt[name], job.image_seed, indices)


def trained(job: Job) -> dict[str, Concept] | None:
    """The vectors of this configuration, where they are finished: in the run's folder, or in the cache."""
    names = list(job.learnt)
    own = finished(job.concepts_dir, names, job.vectors_made_by)
    if own is not None:
        return own
    shared = finished(job.shared_concepts, names, job.vectors_made_by)
    return None if shared is None else _leave(job, shared)


def _leave(job: Job, concepts: Mapping[str, Concept]) -> dict[str, Concept]:
    """Write concept files into the run's folder, with the method and the strength that they are used with here."""
    strengths = dict.fromkeys(concepts, job.method.strength) | job.method.strengths(job.prompts)
    own = {
        name: replace(
            concept,
            method=job.method.name,
            attribute=job.groups[name],
            hyperparameters={**concept.hyperparameters, "strength": strengths[name], "branch": job.method.branch},
        )
        for name, concept in concepts.items()
    }
    for name, concept in own.items():
        concept.save(job.concepts_dir / f"{name}.safetensors")
    return own


def make_task(
    job: Job,
    positives: Mapping[str, Positives],
    maps: Mapping[str, Tensor] | None,
    runs: Mapping[tuple[str, str], Trajectories],
) -> Task:
    """What is to be learnt, and of what."""
    return Task(
        backbone=job.backbone,
        method=job.method.name,
        groups=job.groups,
        prompts=job.learnt,
        steps=job.training_steps,
        seed=job.seed,
        folder=job.concepts_dir,
        made_by=job.vectors_made_by,
        make_trainer=job.make_trainer,
        latents={name: found.latents for name, found in positives.items()},
        maps=maps,
        runs=runs,
        hyperparameters={
            "images": job.training_images,
            "training": job.training_settings,
        },
    )


def make_concepts(
    job: Job,
    positives: Mapping[str, Positives],
    maps: Mapping[str, Tensor] | None,
    runs: Mapping[tuple[str, str], Trajectories],
) -> dict[str, Concept]:
    """Stage ``training``: vectors, saved as concept files in the run's folder and, for other runs, in the cache."""
    if job.method.training is None:
        raise UserError(f"method {job.method.name!r} has nothing to train")
    concepts = learn(make_task(job, positives, maps, runs), job.method.training)
    for name, concept in concepts.items():
        concept.save(job.shared_concepts / f"{name}.safetensors")
    own = _leave(job, concepts)
    shutil.rmtree(job.concepts_dir / ".checkpoints", ignore_errors=True)
    return own


def edit_of(job: Job, concepts: Mapping[str, Concept]) -> Edit:
    """How the method's concepts enter h."""
    for concept in concepts.values():
        concept.check(job.backbone)
    return job.method.apply(job.prompts, concepts, job.keep, job.frequency)


def make_images(job: Job, concepts: Mapping[str, Concept] | None) -> Path:
    """Stage ``generation``: unedited images (shared through the cache), edited ones, and the manifest.

    Args:
        job: the run.
        concepts: vectors, none where the method learns none; None for the unedited model.

    Returns:
        the manifest.
    """
    plain = {"kind": "unedited", "sampling": job.sampling.describe(job.backbone), "image_seed": job.image_seed}
    plain |= {"templates": job.placing["templates"]}
    cached = job.cache / digest(plain) / "images"
    edited, edit = job.run_dir / "images" / "edited", None if concepts is None else edit_of(job, concepts)
    worker = job.worker
    kinds: list[tuple[str, Path, Edit | None, Path | None]] = [("unedited", cached, None, cached.parent / FOLDER)]
    if edit is not None:
        kinds.append(("edited", edited, edit, worker.folder / "edited" if worker.count > 1 else None))
    if worker.rank == 0:
        if edit is not None:
            claim(edited, digest({**plain, **_edited_about(job), "placing": job.placing}))
        worker.ready()
    for wait in worker.passes:
        make = partial(generate, job.backbone, job.sampling, job.items, image_seed=job.image_seed, wait=wait)
        for kind, folder, how, locks in kinds:
            make(folder, edit=how, lock=worker.locks(locks), description=f"{kind} images")
    if worker.rank == 0:
        take_originals(job.items, cached, job.run_dir / "images" / "original")
        write_manifest(job.run_dir, job.items, job.method.strengths(job.prompts), concepts is not None)
    return job.run_dir / "manifest.csv"


def _edited_about(job: Job) -> dict[str, Any]:
    """What decides the edited images beside what decides the unedited ones."""
    how: dict[str, Any] = {"frequency": essential(job.settings["frequency"])}
    how["applied"] = essential(job.settings["applied"])
    if job.method.training is None:
        how["prompts"] = {name: asdict(some) for name, some in job.prompts.items()}
    vectors = [team.vectors_made_by for team in job.teams]
    how["vectors"] = vectors[0] if len(vectors) == 1 else vectors
    return how
