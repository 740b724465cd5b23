"""What a configuration may hold, so that a typo is an error that names the key and the choices.

Nodes of plain data are dataclasses. Nodes with a ``_target_`` are checked against the signature of their target.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from hspace_exp.avatars import EMBEDDED
from hspace_exp.prompts.attributes import Group

_LONGEST_NAME = 120


@dataclass
class Attribute(Group):
    """What is asked for: one group, a composition of several, or a concept from words alone."""

    groups: dict[str, Group] = field(default_factory=dict)
    positive: str = ""
    neutral: str = ""
    words: str = ""
    concept: str = ""


@dataclass
class Prompts:
    """Wordings with ``{a}`` and ``{profession}``, and the professions that are known, and groups of them."""

    templates: list[str] = MISSING
    professions: list[str] = MISSING
    groups: dict[str, list[str]] = field(default_factory=dict)
    measured: str = "unseen"  # the group that is measured, where the protocol does not name professions


@dataclass
class Protocol:
    """How much of everything.

    Attributes:
        professions: those measured; empty means all known ones.
        images_per_profession: images measured of each.
        training_images: images a concept learns from.
        training_steps: optimiser steps.
        num_inference_steps: denoising steps.
        learning_inference_steps: those of what is learnt from and calibrated with; None: as many.
        image_seed: of all images.
        assignment: ``balanced``, ``random`` or the name of the one concept that every image is asked for.
        calibration_images: images a concept that its strength is found with.
        guidance_scale: of images measured; None: the model's own, at which vectors are learnt and calibrated.
    """

    professions: list[str] = MISSING
    images_per_profession: int = MISSING
    training_images: int = MISSING
    training_steps: int = MISSING
    num_inference_steps: int = MISSING
    learning_inference_steps: int | None = None
    image_seed: int = 0
    assignment: str = "balanced"
    calibration_images: int = MISSING
    guidance_scale: float | None = None


@dataclass
class Calibration:
    """How strengths are found, see ``hspace_exp.pipeline.calibration``."""

    success: float = 0.95
    professions: list[str] = MISSING
    images: int = MISSING
    image_seed: int = 1
    strengths: list[float] = MISSING
    points: int = 31


@dataclass
class Paths:
    """Folders outside the run's own."""

    cache: str = MISSING


@dataclass
class Config:
    """The root of every configuration."""

    name: str = MISSING
    seed: int = MISSING
    stages: list[str] = MISSING
    device: str = MISSING
    chunk_size: int | None = None
    respect_prompt: bool = True
    optimized_metric: Any = MISSING
    trust: list[str] = field(default_factory=list)
    paths: Paths = field(default_factory=Paths)
    attribute: Attribute = field(default_factory=Attribute)
    prompts: Prompts = field(default_factory=Prompts)
    protocol: Protocol = field(default_factory=Protocol)
    calibration: Calibration = field(default_factory=Calibration)
    model: Any = MISSING
    scheduler: Any = MISSING
    method: Any = MISSING
    mask: Any = MISSING
    frequency: Any = MISSING
    evaluator: Any = MISSING
    logger: Any = MISSING
    trainer: Any = MISSING


def register() -> None:
    """Make the schema and the resolvers of conf/ known to Hydra: ``embedded`` is a folder of the embedded model."""
    ConfigStore.instance().store(name="schema", node=Config)
    OmegaConf.register_new_resolver("embedded", lambda part="": str(EMBEDDED / part), replace=True)
    OmegaConf.register_new_resolver("deviations", _deviations, replace=True)


def _deviations(overrides: str) -> str:
    """What a run's folder adds to its name for values set on the command line; short, and safe as a file name."""
    text = "".join(c if c.isalnum() or c in "=,.+-_" else "_" for c in overrides)
    if len(text) > _LONGEST_NAME:
        text = f"{text[: _LONGEST_NAME - 9]}-{hashlib.sha256(overrides.encode()).hexdigest()[:8]}"
    return f",{text}" if text else ""
