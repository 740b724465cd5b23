"""What is checked of a resolved configuration before anything expensive happens."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Mapping
from dataclasses import fields
from types import SimpleNamespace
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from hspace_exp.config.command_line import gone
from hspace_exp.config.schema import Config
from hspace_exp.config.trust import resolve, with_target
from hspace_exp.errors import UserError, unknown

STAGES = ("concepts", "masks", "training", "calibration", "generation", "evaluation")
COUNTS = ("images_per_profession", "training_images", "training_steps")
STEPS = ("num_inference_steps", "learning_inference_steps")
_HYDRA_KEYS = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_", "_source_"}
_LONGEST_VALUE = 60
_NO_JSON = "needs_python_object"  # pydantic's word for a class that no plain value is an instance of


def check(config: Mapping[str, Any]) -> None:
    """Check a resolved configuration, plain data of the form of ``Config``.

    Raises UserError: something is unknown, negative, empty or does not fit; the message names the key.
    """
    known = [f.name for f in fields(Config)]
    for key in config:
        if key not in known:
            raise unknown("key", key, known)
    for stage in config["stages"]:
        if stage not in STAGES:
            raise unknown("stage", stage, STAGES)
    check_targets(config, trust=tuple(config["trust"]))
    _check_counts(config)
    _check_words(config)


def _check_counts(config: Mapping[str, Any]) -> None:
    protocol, calibration = config["protocol"], config["calibration"]
    values = {f"protocol.{name}": protocol[name] for name in COUNTS + STEPS} | {"chunk_size": config["chunk_size"]}
    values |= {"calibration.images": calibration["images"], "trainer.devices": config["trainer"].get("devices")}
    for name, value in values.items():
        if value is not None and value < 1:
            raise UserError(f"expected {name} of at least 1, got {value}")
    if (least := min(config["seed"], protocol["image_seed"])) < 0:
        raise UserError(f"expected seeds of at least 0, got {least}")
    rate = ((config["method"].get("training") or {}).get("optimizer") or {}).get("lr")
    if isinstance(rate, int | float) and rate <= 0:
        raise UserError(f"expected method.training.optimizer.lr above 0, got {rate}")
    if not 0 < calibration["success"] <= 1:
        raise UserError(f"expected calibration.success, a share, in (0, 1], got {calibration['success']}")
    strengths, points = calibration["strengths"], calibration["points"]
    if points < 2 or len(strengths) != 2 or not 0 < strengths[0] < strengths[1]:
        wanted = "calibration.strengths [least, most], above 0, and at least 2 calibration.points"
        raise UserError(f"expected {wanted}, got {strengths} and {points}")


def _check_words(config: Mapping[str, Any]) -> None:
    prompts, professions = config["prompts"], config["protocol"]["professions"]
    said = {"prompts.templates": prompts["templates"], "protocol.professions": professions}
    for name, values in (said | {"calibration.professions": config["calibration"]["professions"]}).items():
        if not values:
            raise UserError(f"{name} is empty: name at least one")
    for template in prompts["templates"]:
        try:
            template.format(a="a", profession="nurse")
        except (KeyError, IndexError, ValueError) as error:
            raise UserError(f"prompts.templates may use {{a}} and {{profession}} only, got {template!r}") from error
    for profession in professions:
        if profession not in prompts["professions"]:
            raise unknown("profession", profession, prompts["professions"])
    if len(set(professions)) < len(professions):
        raise UserError("protocol.professions names a profession twice: name each once")


def check_targets(node: Any, where: str = "", trust: tuple[str, ...] = ()) -> None:
    """Check every node with a ``_target_`` inside plain data; nothing is changed. See ``resolve`` about ``trust``.

    Values are read as JSON by pydantic's strict rules: a list may be a tuple and a whole number a float, but no text is
    a number. A value passes where its parameter has no annotation, or one that pydantic does not know. Raises
    UserError: a target cannot be imported, has no such parameter, or another type of it; names the key.
    """
    for place, one in with_target(node, where):
        _check(one, place, trust)


def _check(node: Mapping[str, Any], where: str, trust: tuple[str, ...]) -> None:
    target = str(node["_target_"])
    try:
        parameters = _parameters(target, trust)
    except UserError:
        raise
    except Exception as error:  # Hydra raises whatever the import of the target raises
        raise UserError(f"{where}._target_ names {target!r}, which cannot be imported: {error}") from error
    named = {n: p for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name, value in node.items():
        if name not in named and name not in _HYDRA_KEYS and not open_ended:
            if instead := gone(_below(where, name)):
                raise UserError(instead)
            raise unknown(f"key of {where}" if where else "key", str(name), named)
        if name in named and not _holds_target(value) and (value, named[name].default) != (None, None):
            _check_value(_adapter(target, trust, str(name)), value, _below(where, name))


def _below(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)


def _check_value(adapter: TypeAdapter[Any] | None, value: Any, where: str) -> None:
    try:
        if adapter is not None:
            adapter.validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        found = [one["msg"] for one in error.errors(include_url=False) if one["type"] != _NO_JSON]
        wanted = " or ".join(dict.fromkeys(text.removeprefix("Input should be ") for text in found))
        shown = value if isinstance(value, str) else json.dumps(value, default=str)
        if wanted:
            raise UserError(f"{where}={shown[:_LONGEST_VALUE]}: expected {wanted}") from error


@functools.cache
def _parameters(target: str, trust: tuple[str, ...]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(resolve(target, trust)).parameters


@functools.cache
def _adapter(target: str, trust: tuple[str, ...], name: str) -> TypeAdapter[Any] | None:
    """What checks the values of a parameter; None where its annotation says nothing to pydantic."""
    function = resolve(target, trust)
    call = function.__init__ if inspect.isclass(function) else function
    try:
        alone = SimpleNamespace(__annotations__={name: call.__annotations__[name]})
        annotation = get_type_hints(alone, call.__globals__, include_extras=True)[name]
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except Exception:  # none at all, names that only a checker of types sees, types that pydantic cannot read
        return None


def _holds_target(value: Any) -> bool:
    """Whether an object that Hydra makes is inside."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return (isinstance(value, Mapping) and "_target_" in value) or any(_holds_target(one) for one in inner)
