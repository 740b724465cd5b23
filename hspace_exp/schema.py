"""What a configuration may hold, so that a typo is an error that names the key and the choices.

Nodes of plain data are dataclasses. Nodes with a ``_target_`` are checked against the signature of their target.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from hspace_exp.errors import UserError, unknown

STAGES = ("concepts", "masks", "training", "generation", "evaluation")
ASSIGNMENTS = ("balanced", "random")
_HYDRA_KEYS = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}
_LONGEST_NAME = 120


@dataclass
class ConceptPrompts:
    """Prompts of one concept.

    Attributes:
        positive: images of it are made from this.
        neutral: the same without the attribute.
        words: the words of ``positive`` that carry the attribute.
    """

    positive: str = MISSING
    neutral: str = MISSING
    words: str = MISSING


@dataclass
class Attribute:
    """A group of concepts that exclude each other; ``part`` names the mask of rendered images that shows it."""

    name: str = MISSING
    part: str = MISSING
    concepts: dict[str, ConceptPrompts] = field(default_factory=dict)


@dataclass
class Prompts:
    """Wordings with ``{a}`` and ``{profession}``, and the professions that are known."""

    templates: list[str] = MISSING
    professions: list[str] = MISSING


@dataclass
class Protocol:
    """How much of everything.

    Attributes:
        professions: those measured; empty means all known ones.
        images_per_profession: images measured of each.
        training_images: images a concept learns from.
        training_steps: optimiser steps.
        num_inference_steps: denoising steps.
        image_seed: of all images.
        assignment: ``balanced``, ``random`` or the name of the one concept that every image is asked for.
    """

    professions: list[str] = MISSING
    images_per_profession: int = MISSING
    training_images: int = MISSING
    training_steps: int = MISSING
    num_inference_steps: int = MISSING
    image_seed: int = 0
    assignment: str = "balanced"


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
    paths: Paths = field(default_factory=Paths)
    attribute: Attribute = field(default_factory=Attribute)
    prompts: Prompts = field(default_factory=Prompts)
    protocol: Protocol = field(default_factory=Protocol)
    model: Any = MISSING
    scheduler: Any = MISSING
    method: Any = MISSING
    mask: Any = MISSING
    frequency: Any = MISSING
    evaluator: Any = MISSING
    logger: Any = MISSING
    trainer: Any = MISSING


def register() -> None:
    """Make the schema and the resolvers of conf/ known to Hydra."""
    ConfigStore.instance().store(name="schema", node=Config)
    OmegaConf.register_new_resolver("embedded", _embedded, replace=True)
    OmegaConf.register_new_resolver("deviations", _deviations, replace=True)


def _embedded(part: str = "") -> str:
    """Folder of the embedded model, or of one of its parts."""
    from hspace_exp.models.loading import EMBEDDED

    return str(EMBEDDED / part if part else EMBEDDED)


def _deviations(overrides: str) -> str:
    """What a run's folder adds to its name for values set on the command line; short, and safe as a file name."""
    text = "".join(c if c.isalnum() or c in "=,.+-_" else "_" for c in overrides)
    if len(text) > _LONGEST_NAME:
        text = f"{text[: _LONGEST_NAME - 9]}-{hashlib.sha256(overrides.encode()).hexdigest()[:8]}"
    return f",{text}" if text else ""


def check(config: Mapping[str, Any]) -> None:
    """Check a resolved configuration before anything expensive happens.

    Args:
        config: plain data of the form of ``Config``.

    Raises:
        UserError: something is unknown, negative, empty or does not fit; the message names the key.
    """
    known = [f.name for f in fields(Config)]
    for key in config:
        if key not in known:
            raise unknown("key", key, known)
    for stage in config["stages"]:
        if stage not in STAGES:
            raise unknown("stage", stage, STAGES)
    _check_counts(config)
    _check_words(config)
    _check_targets(config)


def _check_counts(config: Mapping[str, Any]) -> None:
    protocol = config["protocol"]
    for name in ("images_per_profession", "training_images", "training_steps", "num_inference_steps"):
        if protocol[name] < 1:
            raise UserError(f"expected protocol.{name} of at least 1, got {protocol[name]}")
    if config["seed"] < 0 or protocol["image_seed"] < 0:
        raise UserError(f"expected seeds of at least 0, got {min(config['seed'], protocol['image_seed'])}")
    if config["chunk_size"] is not None and config["chunk_size"] < 1:
        raise UserError(f"expected chunk_size of at least 1, got {config['chunk_size']}")


def _check_words(config: Mapping[str, Any]) -> None:
    prompts, protocol, concepts = config["prompts"], config["protocol"], config["attribute"]["concepts"]
    for name, values in (
        ("prompts.templates", prompts["templates"]),
        ("protocol.professions", protocol["professions"]),
        ("attribute.concepts", concepts),
    ):
        if not values:
            raise UserError(f"{name} is empty: name at least one")
    for template in prompts["templates"]:
        try:
            template.format(a="a", profession="nurse")
        except (KeyError, IndexError, ValueError) as error:
            raise UserError(f"prompts.templates may use {{a}} and {{profession}} only, got {template!r}") from error
    for profession in protocol["professions"]:
        if profession not in prompts["professions"]:
            raise unknown("profession", profession, prompts["professions"])
    if len(set(protocol["professions"])) < len(protocol["professions"]):
        raise UserError("protocol.professions names a profession twice: name each once")
    if protocol["assignment"] not in (*ASSIGNMENTS, *concepts):
        raise unknown("assignment (protocol.assignment)", protocol["assignment"], (*ASSIGNMENTS, *concepts))


def _check_targets(node: Any, where: str = "") -> None:
    """Every node with a ``_target_`` must bind to its target's signature."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            _bind(node, where)
        for name, inner in node.items():
            _check_targets(inner, f"{where}.{name}" if where else str(name))
    elif isinstance(node, list):
        for inner in node:
            _check_targets(inner, where)


def _bind(node: Mapping[str, Any], where: str) -> None:
    names, open_ended = parameters(str(node["_target_"]), where)
    for name in node:
        if name not in names and name not in _HYDRA_KEYS and not open_ended:
            raise unknown(f"key of {where}", str(name), names)


@functools.cache
def parameters(target: str, where: str) -> tuple[tuple[str, ...], bool]:
    """Names that the callable at a dotted path takes, and whether it takes any others."""
    try:
        function: Callable[..., Any] = pkgutil.resolve_name(target)
        found = inspect.signature(function).parameters.values()
    except Exception as error:  # Hydra raises whatever the import of the target raises
        raise UserError(f"{where}._target_ names {target!r}, which cannot be imported: {error}") from error
    names = tuple(p.name for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    return names, any(p.kind is p.VAR_KEYWORD for p in found)
