"""Vectors by gradient descent: trains, resumes, and leaves finished vectors alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from hspace_exp.concepts.concept import Concept, load_concept
from hspace_exp.errors import UserError
from hspace_exp.methods.learning import Training
from hspace_exp.prompts.subjects import wordings
from hspace_exp.training.module import ConceptModule, Steps
from hspace_exp.training.noised import NoisedImages
from hspace_exp.training.on_policy import OnPolicyStates, presence_of
from hspace_exp.training.task import MakeTrainer, Task, passes

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
        try:
            concept = load_concept(path)
        except UserError as error:
            log.warning("%s; it is trained again", error)
            return None
        if concept.hyperparameters.get("made_by") != made_by:
            log.warning("%s belongs to another configuration: it is trained again", path)
            return None
        found[name] = concept
    return found


def train(task: Task, training: Training) -> dict[str, Concept]:
    """Train the vectors of a task by gradient descent; resumes from its last checkpoint.

    Args:
        task: with x+ (and maps), or with sampling runs, as ``training`` needs them.
        training: how.
    """
    examples = _examples(task, training)
    steps = task.steps * training.steps_multiplier
    module = ConceptModule(task.backbone, training, list(task.prompts), examples, task.seed)
    _fit(module, steps, task.folder / ".checkpoints" / task.made_by, task.make_trainer, task.backbone.device)
    names = module.names
    vectors = dict(zip(names, module.vectors.detach().cpu(), strict=True))
    presence: dict[str, Tensor] = {}
    if training.presence:
        presence = {
            name: presence_of(
                task.backbone, task.runs[name, "positive"], wordings(task.prompts[name], training.subjects).neutral
            )
            for name in names
        }
    learnt = {}
    for name in names:
        before = examples.passes(name) if isinstance(examples, OnPolicyStates) else 0
        shown = task.runs[name, "positive"].timesteps.numel() if training.presence else 0
        vector, noted = training.objective.found(vectors[name])
        cost = evaluations(training, steps, before + shown)
        learnt[name] = task.concept(
            name, vector, presence.get(name), **noted, optimizer_steps=steps, unet_evaluations=cost
        )
    _forget(examples)
    return learnt


def _forget(examples: NoisedImages | OnPolicyStates) -> None:
    """Give back gigabytes that the images need now, while Lightning may hold the module for longer."""
    if isinstance(examples, OnPolicyStates):
        examples.forget()


def _examples(task: Task, training: Training) -> NoisedImages | OnPolicyStates:
    """What the steps are made of."""
    names = list(task.prompts)
    options: dict[str, Any] = {
        "batch_size": training.batch_size,
        "timesteps": training.timesteps,
        "seed": task.seed,
    }
    if training.on_policy is None:
        maps = None if task.maps is None else torch.stack([task.maps[name] for name in names])
        latents = torch.stack([task.latents[name] for name in names])
        return NoisedImages(task.backbone, task.prompts, latents, maps, **options)
    runs = {name: [task.runs[name, kind] for kind in training.on_policy.runs] for name in names}
    own = {name: getattr(training.on_policy, name) for name in ("kept_bytes", "teacher_guidance", "subjects")}
    return OnPolicyStates(task.backbone, task.prompts, runs, **own, **options)


def evaluations(training: Training, steps: int, before: int = 0) -> dict[str, int]:
    """U-Net passes of one row that training one concept takes, see ``task.passes``.

    Args:
        training: how.
        steps: of the optimiser.
        before: passes before the first step: of the teacher and of the first half, where they are kept.
    """
    rows = steps * training.batch_size
    without, with_gradient = training.objective.passes
    teacher = 1 if training.objective.targets_from_model and training.on_policy is None else 0
    return passes(before + rows * (without + with_gradient + teacher), rows * with_gradient)


def _fit(
    module: ConceptModule,
    steps: int,
    half_way: Path,
    make_trainer: MakeTrainer,
    device: torch.device,
) -> None:
    """Run the trainer to ``steps``, from the last checkpoint where there is one."""
    keep = ModelCheckpoint(
        half_way,
        filename="training",
        every_n_train_steps=max(_LEAST_STEPS, steps // CHECKPOINTS),
        enable_version_counter=False,
    )
    trainer = make_trainer(
        max_steps=steps,
        accelerator={"cuda": "gpu"}.get(device.type, device.type),
        devices=[device.index or 0] if device.type == "cuda" else 1,
        default_root_dir=half_way,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[keep],
        plugins=[LightningEnvironment()],  # one process trains, whatever started it beside others
    )
    checkpoint, done = _last(half_way / CHECKPOINT)
    if done:
        log.info("training goes on from step %d of %d", done, steps)
    try:
        trainer.fit(module, Steps(steps - done, "train vectors"), ckpt_path=checkpoint)
    except SystemExit as error:  # how Lightning ends after Ctrl-C
        raise KeyboardInterrupt from error
    module.to(device)
    if trainer.global_step < steps:
        raise UserError(f"training stopped at step {trainer.global_step} of {steps}: run the same command again")


def _last(path: Path) -> tuple[Path | None, int]:
    """The checkpoint to go on from and the steps it has done; (None, 0) to start afresh."""
    if not path.exists():
        return None, 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return path, int(state["global_step"])
    except Exception as error:  # torch.load raises a dozen kinds for a damaged file
        log.warning("%s is damaged (%s): training starts again", path, type(error).__name__)
        path.unlink(missing_ok=True)
        return None, 0
