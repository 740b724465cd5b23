"""Short names for plain data and configurations: equal data, equal digest; and what decides a file."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import os
import pkgutil
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hspace_exp.errors import UserError

LENGTH = 16

# Left out of a configuration's digest: paths of keys, of which none changes a number. ``*`` stands for any keys.
_NOT_DIGESTED = Path(__file__).with_name("not_digested.txt").read_text("utf-8").split()
# Paths of keys in configurations of earlier versions, which records hold → what they are called now.
_RENAMED = {"method.training.pace": "steps_multiplier"}
_OWN_MODULES = ("hspace_exp.", "hspace_rivals.", "avatars_world.")
_INSTALLED = tuple({str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib")})
_OWN_METRICS = "hspace_exp.evaluation.metrics."


def canonical_json(value: object) -> str:
    """The one JSON text of ``value``: sorted keys, no spaces, no NaN; tuples read as lists.

    Raises UserError: ``value`` holds NaN, Infinity or something that JSON has no form for.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    except (TypeError, ValueError) as error:
        raise UserError(f"expected plain data (numbers, text, lists, mappings) to digest: {error}") from error


def digest(value: object) -> str:
    """The first 16 hex digits of SHA-256 over the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()[:LENGTH]


def fingerprint(folder: Path) -> str:
    """12 hex digits that change when the weights in ``folder`` do; reads at most 2 MiB a file."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(2**20))
            stream.seek(max(0, size - 2**20))
            digest.update(stream.read(2**20))
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Recipe:
    """What decides files of a kind, e.g. ``unedited``: equal recipes, equal files. Its inputs are plain data."""

    kind: str
    inputs: Mapping[str, Any]

    def plain(self) -> dict[str, Any]:
        """The recipe as plain data, for a manifest or as an input of another one."""
        return {"kind": self.kind, **self.inputs}

    @property
    def digest(self) -> str:
        """Its short name."""
        return digest(self.plain())

    def folder(self, cache: Path) -> Path:
        """Where the files are in a cache."""
        return cache / self.digest


def config_digest(config: Mapping[str, Any]) -> str:
    """Digest of what decides a run's numbers, see ``essential``.

    Metrics of the package do not count, as more of them make no other run (`hspace_exp.results.write.finished` asks for
    those that a record lacks); a metric of one's own does.
    """
    return digest(essential(_without_own_metrics(config)))


def _without_own_metrics(config: Mapping[str, Any]) -> Mapping[str, Any]:
    evaluator = config.get("evaluator")
    if not isinstance(evaluator, Mapping) or "metrics" not in evaluator:
        return config
    foreign = {n: m for n, m in evaluator["metrics"].items() if not str(m["_target_"]).startswith(_OWN_METRICS)}
    rest = {name: value for name, value in evaluator.items() if name != "metrics"}
    return {**config, "evaluator": {**rest, "metrics": foreign} if foreign else rest}


def essential(value: object, at: str = "") -> object:
    """What decides numbers in a configuration, or in the node of it that is ``at`` a path of keys, e.g. ``mask``.

    Left out are folders, loggers, devices and the sizes of batches that change no number, by their exact paths: a
    parameter of the same name elsewhere counts. Absolute paths count by their last name only, so that the same weights
    in another checkout are the same model; our own classes by their names, wherever they are.
    """
    if isinstance(value, Mapping):
        found: dict[str, object] = {}
        for name, inner in value.items():
            path = f"{at}.{name}" if at else str(name)
            if not any(fnmatchcase(path, pattern) for pattern in _NOT_DIGESTED):
                ours = name == "_target_" and isinstance(inner, str) and inner.startswith(_OWN_MODULES)
                found[_RENAMED.get(path, str(name))] = inner.rpartition(".")[2] if ours else essential(inner, path)
        return found
    if isinstance(value, list | tuple):
        return [essential(inner, at) for inner in value]
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~/")) else value


def with_sources(value: Any) -> Any:
    """A configuration in which ``_source_`` stands beside each ``_target_`` of a user's own, unpublished module.

    It is the digest of the module's file: who edits a class gets new vectors, not those of its old version. Modules
    that this one imports do not count.
    """
    if isinstance(value, Mapping):
        found = {str(name): with_sources(inner) for name, inner in value.items()}
        source = _source(value["_target_"]) if isinstance(value.get("_target_"), str) else None
        return found if source is None else {**found, "_source_": source}
    return [with_sources(inner) for inner in value] if isinstance(value, list | tuple) else value


def _source(target: str) -> str | None:
    """Digest of the file that defines a target; None of ours, of installed ones, and of those that are not there."""
    if target.startswith(_OWN_MODULES):
        return None
    try:
        spec = importlib.util.find_spec(target.partition(".")[0])
        places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
        if all(place is None or str(Path(place).resolve()).startswith(_INSTALLED) for place in places):
            return None
        file = inspect.getsourcefile(inspect.unwrap(pkgutil.resolve_name(target)))
        return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()[:LENGTH]
    except Exception:  # whatever its import raises: the check of the configuration says so
        return None
