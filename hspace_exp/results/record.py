"""What one run leaves: its numbers, the configuration they belong to, and how to tell two runs apart.

Importing this module costs neither torch nor a model, so that tables can be built anywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hspace_exp.errors import UserError
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.io.atomic import write_json
from hspace_exp.io.digest import config_digest as config_digest

SCHEMA = 1
FILE_NAME = "record.json"

_MAY_DIFFER = frozenset({"seconds", "device", "git", "config", "command"})


@dataclass(frozen=True)
class RunRecord:
    """One run, as written to ``record.json``.

    Attributes:
        experiment: name of the experiment file.
        method: "original" is the unedited model.
        model: name of the backbone.
        attribute: what was steered, e.g. "gender".
        seed: the run's seed.
        metrics: numbers by name.
        per_profession: plain rows, one a profession.
        config: the resolved configuration.
        versions: version of each package that matters.
        git: commit and whether the tree was clean, or None outside a checkout.
        device: what computed it, in words.
        seconds: wall time by stage.
        command: how to run it again; "" where unknown.
        config_digest: computed from ``config`` where not given.
        details: what else the evaluation found, e.g. the judge's confusion matrix; plain data.
    """

    experiment: str
    method: str
    model: str
    attribute: str
    seed: int
    metrics: Mapping[str, MetricValue]
    per_profession: Sequence[Mapping[str, Any]]
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    git: Mapping[str, Any] | None
    device: str
    seconds: Mapping[str, float]
    command: str = ""
    config_digest: str = field(default="")
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Compute the digest."""
        if not self.config_digest:
            object.__setattr__(self, "config_digest", config_digest(self.config))

    def to_json(self) -> dict[str, Any]:
        """Plain data in the layout of ``record.json``.

        Raises:
            UserError: a number is NaN or infinite; the message names it.
        """
        data: dict[str, Any] = {"schema": SCHEMA}
        data |= {f.name: getattr(self, f.name) for f in fields(self) if f.name != "metrics"}
        data["metrics"] = {name: value.to_json() for name, value in self.metrics.items()}
        for where, value in _leaves(data):
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"a record holds finite numbers only, got {value} at {where}: use null and a note")
        return data

    @classmethod
    def from_json(cls, data: object, source: str = "record") -> RunRecord:
        """Rebuild a record from plain data; ``source`` is named in errors.

        Raises:
            UserError: ``data`` is no record of this schema.
        """
        if not isinstance(data, Mapping) or "schema" not in data:
            raise UserError(f"{source} is not a run record: expected an object with 'schema', delete it or run again")
        if data["schema"] != SCHEMA:
            raise UserError(
                f"{source} has record schema {data['schema']!r}, expected {SCHEMA}: use the version that wrote it"
            )
        needed = {f.name: f.type for f in fields(cls)}
        missing = sorted(set(needed) - set(data) - {"command", "details"})
        if missing:
            raise UserError(f"{source} lacks {', '.join(missing)}: it is cut short or foreign, run the command again")
        plain = {name: data[name] for name in needed if name in data}
        kinds: dict[str, type | tuple[type, ...]] = {"seed": int, "per_profession": list, "git": (dict, type(None))}
        kinds |= dict.fromkeys(("metrics", "config", "versions", "seconds", "details"), dict)
        for name, value in plain.items():
            if not isinstance(value, kinds.get(name, str)):
                raise UserError(f"{source} holds {type(value).__name__} as {name!r}: run the command again")
        try:
            plain["metrics"] = {name: MetricValue(**value) for name, value in plain["metrics"].items()}
        except TypeError as error:
            raise UserError(f"{source} holds a metric of another form ({error}): run the command again") from error
        return cls(**plain)

    def write(self, folder: str | Path) -> Path:
        """Write ``record.json`` into ``folder``, whole or not at all."""
        path = Path(folder) / FILE_NAME
        write_json(path, self.to_json())
        return path


def read_record(path: str | Path) -> RunRecord:
    """Read a ``record.json``, or the one in a run's folder.

    Raises:
        UserError: there is none, it is cut short, or it is something else.
    """
    path = Path(path)
    path = path / FILE_NAME if path.is_dir() else path
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise UserError(f"no record at {path}: run `python -m hspace_exp …` first") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not whole JSON ({error}): delete it and run the command again") from error
    return RunRecord.from_json(data, str(path))


def differences(a: RunRecord, b: RunRecord, tolerance: float = 0.0) -> list[str]:
    """Where two records disagree, apart from ``seconds``, ``device``, ``git`` and how they were started.

    Configurations are compared by digest, so that other folders, devices or batch sizes are no difference.

    Args:
        a: one record.
        b: another.
        tolerance: numbers this close, absolutely or relatively, count as equal (noise of another kernel).

    Returns:
        one line a difference, e.g. ``metrics.fid.value: 1.2 != 1.3``.
    """
    left, right = (
        dict(_leaves({k: v for k, v in record.to_json().items() if k not in _MAY_DIFFER})) for record in (a, b)
    )
    lines = []
    for where in dict.fromkeys([*left, *right]):
        x, y = left.get(where, "absent"), right.get(where, "absent")
        same = math.isclose(x, y, rel_tol=tolerance, abs_tol=tolerance) if _number(x) and _number(y) else x == y
        if not same:
            lines.append(f"{where}: {x} != {y}")
    return lines


def same_result(a: RunRecord, b: RunRecord, tolerance: float = 0.0) -> bool:
    """Whether two records agree but for ``seconds``, ``device`` and ``git``; see ``differences``."""
    return not differences(a, b, tolerance)


def _leaves(value: object, where: str = "") -> Iterator[tuple[str, Any]]:
    inner: Iterator[tuple[str, Any]] | None = None
    if isinstance(value, Mapping) and value:
        inner = ((f"{where}.{name}" if where else str(name), item) for name, item in value.items())
    elif isinstance(value, list | tuple) and value:
        inner = ((f"{where}[{i}]", item) for i, item in enumerate(value))
    if inner is None:
        yield where, value
        return
    for path, item in inner:
        yield from _leaves(item, path)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
