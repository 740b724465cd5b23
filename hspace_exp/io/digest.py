"""Short names for plain data and configurations: equal data, equal digest."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hspace_exp.errors import UserError

LENGTH = 16

# Left out of a configuration's digest wherever they stand.
_NOT_DIGESTED = frozenset(
    {
        *("hydra", "paths", "run_dir", "cache_dir", "output_dir", "root_dir", "default_root_dir", "save_dir"),
        *("logger", "callbacks", "enable_progress_bar", "enable_model_summary", "log_every_n_steps"),
        *("device", "devices", "accelerator", "strategy", "num_nodes", "num_workers", "workers", "threads"),
        *("batch_size", "chunk_size", "micro_batch_size", "rows_at_once", "compile"),
    }
)
# The batch that a vector is trained with is a hyper-parameter like the learning rate: it changes the vector.
_OWN_MODULES = ("hspace_exp.", "avatars_world.")
_BATCH_MATTERS = frozenset({"method", "training"})
# Keys that earlier configurations, which records hold, call otherwise.
_RENAMED = {"pace": "steps_multiplier"}
_OWN_METRICS = "hspace_exp.evaluation.metrics."


def canonical_json(value: object) -> str:
    """The one JSON text of ``value``: sorted keys, no spaces, no NaN; tuples read as lists.

    Raises:
        UserError: ``value`` holds NaN, Infinity or something that JSON has no form for.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    except (TypeError, ValueError) as error:
        raise UserError(f"expected plain data (numbers, text, lists, mappings) to digest: {error}") from error


def digest(value: object) -> str:
    """The first 16 hex digits of SHA-256 over the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()[:LENGTH]


def config_digest(config: Mapping[str, Any]) -> str:
    """Digest of what decides a run's numbers.

    Left out, wherever they stand: the nodes and values named in ``_NOT_DIGESTED`` (paths, loggers, devices, batch
    sizes, compilation; but not the batch size inside ``method`` or ``training``, which is a hyper-parameter). Absolute
    paths count by their last name only, so that the same weights in another checkout are the same model. Metrics of the
    package do not count, as more of them make no other run (`hspace_exp.results.write.finished` asks for those that a
    record lacks); a metric of one's own does.
    """
    return digest(essential(_without_own_metrics(config)))


def _without_own_metrics(config: Mapping[str, Any]) -> Mapping[str, Any]:
    evaluator = config.get("evaluator")
    if not isinstance(evaluator, Mapping) or "metrics" not in evaluator:
        return config
    foreign = {n: m for n, m in evaluator["metrics"].items() if not str(m["_target_"]).startswith(_OWN_METRICS)}
    rest = {name: value for name, value in evaluator.items() if name != "metrics"}
    return {**config, "evaluator": {**rest, "metrics": foreign} if foreign else rest}


def essential(value: object, *, batch_matters: bool = False) -> object:
    """What ``config_digest`` looks at: ``value`` without what it leaves out."""
    if isinstance(value, Mapping):
        return {
            _RENAMED.get(str(name), str(name)): _class_name(inner)
            if name == "_target_"
            else essential(inner, batch_matters=batch_matters or name in _BATCH_MATTERS)
            for name, inner in value.items()
            if name not in _NOT_DIGESTED or (name == "batch_size" and batch_matters)
        }
    if isinstance(value, list | tuple):
        return [essential(inner, batch_matters=batch_matters) for inner in value]
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~/")) else value


def _class_name(target: object) -> object:
    """What a ``_target_`` counts by."""
    return target.rpartition(".")[2] if isinstance(target, str) and target.startswith(_OWN_MODULES) else target
