"""What is checked of a resolved configuration before anything expensive happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from hspace_exp.config.schema import Config
from hspace_exp.config.targets import check_targets
from hspace_exp.errors import UserError, unknown

STAGES = ("concepts", "masks", "training", "generation", "evaluation")


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
    check_targets(config)
    _check_counts(config)
    _check_words(config)


def _check_counts(config: Mapping[str, Any]) -> None:
    protocol = config["protocol"]
    counts = ("images_per_profession", "training_images", "training_steps", "num_inference_steps")
    values = {f"protocol.{name}": protocol[name] for name in counts}
    for name, value in {**values, "chunk_size": config["chunk_size"]}.items():
        if value is not None and value < 1:
            raise UserError(f"expected {name} of at least 1, got {value}")
    if config["seed"] < 0 or protocol["image_seed"] < 0:
        raise UserError(f"expected seeds of at least 0, got {min(config['seed'], protocol['image_seed'])}")
    optimizer = (config["method"].get("training") or {}).get("optimizer") or {}
    rate = optimizer.get("lr")
    if isinstance(rate, int | float) and rate <= 0:
        raise UserError(f"expected method.training.optimizer.lr above 0, got {rate}")


def _check_words(config: Mapping[str, Any]) -> None:
    templates, professions = config["prompts"]["templates"], config["protocol"]["professions"]
    for name, values in (("prompts.templates", templates), ("protocol.professions", professions)):
        if not values:
            raise UserError(f"{name} is empty: name at least one")
    for template in templates:
        try:
            template.format(a="a", profession="nurse")
        except (KeyError, IndexError, ValueError) as error:
            raise UserError(f"prompts.templates may use {{a}} and {{profession}} only, got {template!r}") from error
    for profession in professions:
        if profession not in config["prompts"]["professions"]:
            raise unknown("profession", profession, config["prompts"]["professions"])
    if len(set(professions)) < len(professions):
        raise UserError("protocol.professions names a profession twice: name each once")
