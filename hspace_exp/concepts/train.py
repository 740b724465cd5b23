"""From x+ and maps to concept files: trains, resumes, and leaves finished vectors alone."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from hspace_exp.concepts.concept import Concept, load_concept
from hspace_exp.concepts.method import Method, Training
from hspace_exp.concepts.module import ConceptModule, Steps
from hspace_exp.errors import UserError
from hspace_exp.models.backbone import Backbone

log = logging.getLogger(__name__)

CHECKPOINTS = 10
_LEAST_STEPS = 50
MakeTrainer = Callable[..., lightning.Trainer]


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


def train(
    backbone: Backbone,
    method: Method,
    training: Training,
    steps: int,
    *,
    attribute: str,
    prompts: Mapping[str, Mapping[str, str]],
    latents: Mapping[str, Tensor],
    maps: Mapping[str, Tensor] | None,
    folder: Path,
    made_by: str,
    seed: int,
    hyperparameters: Mapping[str, Any],
    make_trainer: MakeTrainer,
) -> dict[str, Concept]:
    """Train the vectors of an attribute and save them as ``folder``/<name>.safetensors.

    Args:
        backbone: frozen.
        method: named in the files.
        training: of the method.
        steps: optimiser steps.
        attribute: the group's name.
        prompts: concept → its prompts, ``neutral`` among them.
        latents: concept → (N, C, H, W) of x+.
        maps: concept → (N, 1, S, S) uint8, or None.
        folder: of the concept files.
        made_by: digest of all that decides the vectors; kept in the files, and checked by ``finished``.
        seed: of training.
        hyperparameters: kept in the files.
        make_trainer: makes a ``lightning.Trainer`` from keyword arguments.
    """
    names = list(prompts)
    neutral = [prompts[name]["neutral"] for name in names]
    stacked = None if maps is None else torch.stack([maps[name] for name in names])
    pool = torch.stack([latents[name] for name in names])
    module = ConceptModule(backbone, training, names, neutral, pool, stacked, seed)
    half_way = folder / ".checkpoints" / made_by
    _fit(module, steps, half_way, make_trainer, backbone.device)
    concepts = {}
    for name, vector in zip(names, module.vectors.detach().cpu(), strict=True):
        concepts[name] = Concept(
            vector=vector,
            name=name,
            attribute=attribute,
            model=backbone.name,
            revision=backbone.revision,
            h_shape=backbone.h_shape,
            method=method.name,
            prompts=dict(prompts[name]),
            hyperparameters={**hyperparameters, "steps": steps, "made_by": made_by},
            seed=seed,
        )
    for name, concept in concepts.items():
        concept.save(folder / f"{name}.safetensors")
    shutil.rmtree(folder / ".checkpoints", ignore_errors=True)
    return concepts


def _fit(module: ConceptModule, steps: int, half_way: Path, make_trainer: MakeTrainer, device: torch.device) -> None:
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
        callbacks=[keep],
        default_root_dir=half_way,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    checkpoint, done = _last(half_way / "training.ckpt")
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
        path.unlink()
        return None, 0
