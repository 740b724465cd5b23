"""What is checked of a resolved configuration before anything expensive happens."""

from __future__ import annotations

import functools
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from hspace_exp.config.schema import Config
from hspace_exp.errors import UserError, unknown
from hspace_exp.prompts.attributes import Attribute, targets

STAGES = ("concepts", "masks", "training", "generation", "evaluation")
ASSIGNMENTS = ("balanced", "random")
STRATEGIES = ("auto", "ddp", "one")
_HYDRA_KEYS = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}


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
    strategy = config["trainer"].get("strategy", "auto")
    if strategy not in STRATEGIES:
        raise unknown("strategy (trainer.strategy)", strategy, STRATEGIES)


def _check_words(config: Mapping[str, Any]) -> None:
    prompts, protocol, groups = config["prompts"], config["protocol"], Attribute.of(config["attribute"]).groups
    for name, values in (
        ("prompts.templates", prompts["templates"]),
        ("protocol.professions", protocol["professions"]),
        *((f"concepts of the attribute {group.name}", group.concepts) for group in groups),
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
    assignments = (*ASSIGNMENTS, *targets(groups))
    if protocol["assignment"] not in assignments:
        raise unknown("assignment (protocol.assignment)", protocol["assignment"], assignments)


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
