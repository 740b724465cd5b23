"""Vectors by gradient descent: trains, resumes, and leaves finished vectors alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import Tensor

from hspace_exp.concepts.concept import Concept, load_concept
from hspace_exp.errors import UserError
from hspace_exp.io.checksums import clear, is_noted
from hspace_exp.io.progress import track
from hspace_exp.methods.learning import Training
from hspace_exp.methods.task import Task
from hspace_exp.prompts.wording import wordings
from hspace_exp.training.noised import NoisedImages
from hspace_exp.training.on_policy import OnPolicyStates, presence_of

log = logging.getLogger(__name__)

CHECKPOINT, CHECKPOINTS = "training.ckpt", 10
_LEAST_STEPS = 50


def finished(folder: Path, names: Sequence[str], made_by: str) -> dict[str, Concept] | None:
    """The concepts in ``folder`` if all are there, whole and made by ``made_by`` (a digest); else None."""
    found = {}
    for name in names:
        path = folder / f"{name}.safetensors"
        if not path.exists():
            return None
        with suppress(UserError):  # damaged, as its checksum tells in other words
            found[name] = load_concept(path)
        if name not in found or not is_noted(path) or found[name].used.made_by != made_by:
            log.warning("%s is damaged, or another's than of this configuration: it is trained again", path)
            clear(path)
            return None
    return found


def train(task: Task, training: Training, examples: NoisedImages | OnPolicyStates | None = None) -> dict[str, Concept]:
    """Train the vectors of a task by gradient descent; resumes from its last checkpoint.

    The task has x+ (and maps), or sampling runs, as ``training`` needs them; ``examples`` are made of these by default.
    """
    steps = task.steps * training.steps_multiplier
    examples = examples or _examples(task, training, steps)
    vectors = _fitted(task, training, examples, steps)
    learnt = {}
    for name, vector in zip(task.prompts, vectors, strict=True):
        before = examples.passes(name) if isinstance(examples, OnPolicyStates) else 0
        presence = None
        if training.presence:
            shown = task.runs[name, "positive"]
            before += shown.timesteps.numel()
            presence = presence_of(task.backbone, shown, wordings(task.prompts[name], training.subjects).neutral)
        found, noted = training.objective.found(vector)
        cost = evaluations(training, steps, before)
        learnt[name] = task.concept(name, found, presence, **noted, optimizer_steps=steps, unet_evaluations=cost)
    if isinstance(examples, OnPolicyStates):
        examples.forget()  # gigabytes that the images need now, while Lightning may hold the module for longer
    return learnt


def _examples(task: Task, training: Training, steps: int) -> NoisedImages | OnPolicyStates:
    """What the steps are made of."""
    names = list(task.prompts)
    options: dict[str, Any] = {"batch_size": training.batch_size, "timesteps": training.timesteps, "seed": task.seed}
    if training.on_policy is None:
        maps = None if task.maps is None else torch.stack([task.maps[name] for name in names])
        latents = torch.stack([task.latents[name] for name in names])
        return NoisedImages(task.backbone, task.prompts, latents, maps, **options)
    runs = {name: [task.runs[name, kind] for kind in training.on_policy.runs] for name in names}
    return OnPolicyStates(task.backbone, task.prompts, runs, training.on_policy, steps=steps, **options)


def evaluations(training: Training, steps: int, before: int = 0) -> dict[str, int]:
    """U-Net passes of one row that training one concept takes in so many steps, see ``Task.concept``.

    ``before`` are those before the first step: of the teacher and of the first half, where they are kept.
    """
    rows = steps * training.batch_size
    without, with_gradient = training.objective.passes
    teacher = 1 if training.objective.targets_from_model and training.on_policy is None else 0
    return {"forward": before + rows * (without + with_gradient + teacher), "backward": rows * with_gradient}


def _fitted(task: Task, training: Training, examples: NoisedImages | OnPolicyStates, steps: int) -> Tensor:
    """Vectors (K, ...) on the CPU after ``steps``, from the last checkpoint where there is one."""
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.pytorch.callbacks import ModelCheckpoint

    from hspace_exp.training.module import ConceptModule

    module = ConceptModule(task.backbone, training, list(task.prompts), examples, task.seed)
    folder, device = task.folder / ".checkpoints" / task.made_by, task.backbone.device
    every = max(_LEAST_STEPS, steps // CHECKPOINTS)
    trainer = task.make_trainer(
        max_steps=steps,
        accelerator={"cuda": "gpu"}.get(device.type, device.type),
        devices=[device.index or 0] if device.type == "cuda" else 1,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            ModelCheckpoint(folder, filename="training", every_n_train_steps=every, enable_version_counter=False)
        ],
        plugins=[LightningEnvironment()],  # one process trains, whatever started it beside others
    )
    checkpoint, done = _last(folder / CHECKPOINT)
    if done:
        log.info("training goes on from step %d of %d", done, steps)
    try:
        trainer.fit(module, track(range(steps - done), "train vectors"), ckpt_path=checkpoint)  # steps draw batches
    except OSError as error:
        error.filename = str(folder)  # in the place of a temporary file
        raise
    except SystemExit as error:  # how Lightning ends after Ctrl-C
        raise KeyboardInterrupt from error
    module.to(device)
    if trainer.global_step < steps:
        raise UserError(f"training stopped at step {trainer.global_step} of {steps}: run the same command again")
    return module.vectors.detach().cpu()


def _last(path: Path) -> tuple[Path | None, int]:
    """The checkpoint to go on from and the steps it has done; (None, 0) to start afresh."""
    clear(path)
    if not path.exists():
        return None, 0
    try:
        with ZipFile(path) as file:  # torch.load reads no checksum
            if damaged := file.testzip():
                raise UserError(damaged)
        state = torch.load(path, map_location="cpu", weights_only=True)
        return path, int(state["global_step"])
    except Exception as error:  # torch.load raises a dozen kinds for a damaged file
        log.warning("%s is damaged (%s): training starts again", path, type(error).__name__)
        path.unlink(missing_ok=True)
        return None, 0
