"""What is checked of a resolved configuration before anything expensive happens."""

from __future__ import annotations

import functools
import inspect
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf
from pydantic import ConfigDict, TypeAdapter, ValidationError

from hspace_exp.config.schema import Config
from hspace_exp.config.trust import check_trust, resolve, with_target
from hspace_exp.errors import UserError, unknown
from hspace_exp.io.digest import fingerprint, with_sources
from hspace_exp.prompts.attributes import Attribute, Name, with_own_concept
from hspace_exp.prompts.listed import with_listed

_HYDRA_KEYS = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_", "_source_"}
# Keys of nodes with a ``_target_`` → where ours are, and keys of those that null may stand for.
_NODES = {
    "model": "hspace_exp.models.backbone", "scheduler": "hspace_exp.models.schedulers", "mask": "hspace_exp.masks",
    "method": "hspace_exp.methods.base", "frequency": "hspace_exp.methods.frequency", "trainer": "lightning",
    "evaluator": "hspace_exp.evaluation.evaluators", "logger": "hspace_exp.results.loggers",
}  # fmt: skip
_PARTS = (
    *("method.training", "method.training.objective", "method.training.optimizer", "method.edit"),
    *("frequency.transform", "evaluator.features", "evaluator.person_masks"),
)
_MORE_METRICS = ("classifier_accuracy", "judge_agreement", "mask_iou")  # that evaluators bring themselves
_type = functools.cache(TypeAdapter[Any])
_LONGEST_VALUE = 60
_LEAST_BYTES = 1024  # that an image takes on a disk, or a row in memory: the embedded model's take ten times as much
_NO_JSON = "needs_python_object"  # pydantic's word for a class that no plain value is an instance of


def plain_config(cfg: DictConfig) -> dict[str, Any]:
    """The resolved configuration; the revision of local weights and the sources of a user's own classes are in it."""
    resolved: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    _check_value(_type(list[str]), resolved["trust"], "trust")
    check_trust(resolved, resolved["trust"])
    plain: dict[str, Any] = with_sources(resolved)
    source = plain["model"].get("path") or plain["model"].get("source")
    if isinstance(source, str) and (Path(source).expanduser() / "unet").is_dir():
        plain["model"]["revision"] = fingerprint(Path(source).expanduser() / "unet")
    plain["attribute"] = with_own_concept(plain["attribute"])
    with_listed(plain)
    return plain


def check(config: Mapping[str, Any]) -> None:
    """Check a resolved configuration, plain data of the form of ``Config``.

    Raises UserError: something is unknown, negative, empty or does not fit; the message names the key.
    """
    known = [f.name for f in fields(Config)]
    for key in config:
        if key not in known:
            raise unknown("key", key, known)
    _check_value(_type(Config), config, "")
    for key in (*_NODES, *_PARTS):
        node: Any = config
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        whole = isinstance(node, Mapping) and isinstance(node.get("_target_"), str)
        if not whole and (key in _NODES or node is not None):
            raise UserError(f"{key}={str(node)[:_LONGEST_VALUE]}: expected a choice of its group, or a _target_")
        target = node["_target_"] if whole else ""
        if target.startswith(("hspace_exp.", "lightning.")) and not target.startswith(_NODES.get(key, "")):
            raise UserError(f"{key} names {target}, which is of another group: expected a choice of its own")
    for key in ("model", "method"):
        _check_value(_type(Name | None), config[key].get("name"), f"{key}.name")
    Attribute.of(config["attribute"])
    devices = config["trainer"].get("devices", 1)
    if type(devices) is not int or devices < 1:
        raise UserError(f"expected trainer.devices of at least 1, a number of processes, got {devices}")
    check_targets(config, trust=tuple(config["trust"]))
    professions, prompts = config["protocol"]["professions"], config["prompts"]
    for profession in professions:
        if profession not in prompts["professions"]:
            raise unknown("profession", profession, prompts["professions"])
    if prompts["groups"] and prompts["measured"] not in prompts["groups"]:
        raise unknown("group of professions (prompts.measured)", prompts["measured"], prompts["groups"])
    if len(set(professions)) < len(professions):
        raise UserError("protocol.professions names a profession twice: name each once")
    metrics, names = config["evaluator"].get("metrics"), config["optimized_metric"]
    for name in [names] if isinstance(names, str) else names:
        if metrics and not name.startswith((*metrics, *_MORE_METRICS)):
            raise unknown("optimized_metric", name, metrics)
    _check_sizes(config)


def _check_sizes(config: Mapping[str, Any]) -> None:
    """Refuse images that no disk here holds and rows that no memory does, by the least that one takes."""
    protocol, cache = config["protocol"], Path(config["paths"]["cache"]).absolute()
    there = next(folder for folder in (cache, *cache.parents) if folder.is_dir())
    images = {f"protocol.{key}": protocol[key] for key in ("training_images", "images_per_profession")}
    images["protocol.images_per_profession"] *= len(protocol["professions"])
    images["calibration.images"] = config["calibration"]["images"]
    rows = {f"{node}.batch_size": config[node].get("batch_size") for node in ("mask", "evaluator")}
    rows["method.training.batch_size"] = (config["method"].get("training") or {}).get("batch_size")
    rows |= {"chunk_size": config["chunk_size"], "evaluator.repeats": config["evaluator"].get("repeats")}
    disk, memory = shutil.disk_usage(there).free, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for asked, free, where in ((images, disk, f"free at {there}"), (rows, memory, "memory here")):
        for name, count in asked.items():
            if count and count * _LEAST_BYTES > free > 0:  # none is free where there is no disk, as in /proc
                takes = f"{count:.3g} would take at least {count * _LEAST_BYTES / 1e9:.3g} GB"
                raise UserError(f"{name}: {takes}, and {free / 1e9:.3g} GB are {where}: ask for less")


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
    if not isinstance(node.get("_partial_", False), bool):
        raise UserError(f"{_below(where, '_partial_')}: expected true or false, got {node['_partial_']}")
    try:
        parameters = _parameters(target, trust)
    except UserError:
        raise
    except Exception as error:  # Hydra raises whatever the import of the target raises
        raise UserError(f"{where}._target_ names {target!r}, which cannot be imported: {error}") from error
    named = {n: p for n, (p, _) in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    open_ended = any(p.kind is p.VAR_KEYWORD for p, _ in parameters.values())
    for name, value in node.items():
        if name not in named and name not in _HYDRA_KEYS and not open_ended:
            raise unknown(f"key of {where}" if where else "key", str(name), named)
        made = any(with_target(value))  # by Hydra, of a node inside
        if name in named and not made and (value, named[name].default) != (None, None):
            _check_value(_adapter(target, trust, str(name)), value, _below(where, name))


def _below(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)


def _check_value(adapter: TypeAdapter[Any] | None, value: Any, where: str) -> None:
    """Say what does not fit: the value that is at a place, or, without a place, what is inside of it."""
    try:
        if adapter is not None:
            adapter.validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        wrong = [one for one in error.errors(include_url=False) if one["type"] != _NO_JSON]
        if wrong and not where:
            where, value = _inside(value, wrong[0]["loc"])
            wrong = [one for one in wrong if one["loc"][: where.count(".") + 1] == tuple(where.split("."))]
        wanted = " or ".join(dict.fromkeys(map(_wanted, wrong)))
        shown = value if isinstance(value, str) else json.dumps(value, default=str)
        if wanted:
            raise UserError(f"{where}={shown[:_LONGEST_VALUE]}: expected {wanted}") from error


def _wanted(error: Any) -> str:
    """What pydantic says of a value, in words that follow "expected"."""
    ends = {"too_short": "at least {min_length} of them", "too_long": "at most {max_length} of them"}
    if error["type"] in ends:
        return ends[error["type"]].format(**error["ctx"])
    return str(error["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")


def _inside(value: Any, keys: Sequence[int | str]) -> tuple[str, Any]:
    """Dotted key and value of what pydantic names by its keys, to which it adds names of types."""
    found: list[str] = []
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            break
        found, value = [*found, str(key)], value[key]
    return ".".join(found), value


@functools.cache
def _parameters(target: str, trust: tuple[str, ...]) -> Mapping[str, tuple[inspect.Parameter, Callable[..., Any]]]:
    """Parameters of a target by name, and the functions that have them: what a class hands on, its bases have."""
    function = resolve(target, trust)
    found = {name: (one, function) for name, one in inspect.signature(function).parameters.items()}
    bases = inspect.getmro(function)[:-1] if inspect.isclass(function) else ()
    for call in (inspect.unwrap(vars(base)["__init__"]) for base in bases if "__init__" in vars(base)):
        own = {name: (one, call) for name, one in [*inspect.signature(call).parameters.items()][1:]}
        options = [name for name, (one, _) in found.items() if one.kind is one.VAR_KEYWORD]
        found |= {name: one for name, one in own.items() if found.get(name, one)[1] is function or options}
        if not any(one.kind is one.VAR_KEYWORD for one, _ in own.values()):
            return {name: one for name, one in found.items() if name not in options}
    return found


@functools.cache
def _adapter(target: str, trust: tuple[str, ...], name: str) -> TypeAdapter[Any] | None:
    """What checks the values of a parameter; None where its annotation says nothing to pydantic."""
    call = inspect.unwrap(_parameters(target, trust)[name][1])
    try:
        alone = SimpleNamespace(__annotations__={name: call.__annotations__[name]})
        annotation = get_type_hints(alone, call.__globals__, include_extras=True)[name]
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False))
    except Exception:  # none at all, names that only a checker of types sees, types that pydantic cannot read
        return None
