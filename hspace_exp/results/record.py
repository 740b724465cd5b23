"""What one run leaves: its numbers, the configuration, versions and commit behind them, and how to tell two runs apart.

Reading records needs no torch, so that tables can be built anywhere.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import platform
import subprocess
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import field, fields
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass as pydantic_dataclass

from hspace_exp import __version__
from hspace_exp.errors import UserError, getting
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.io.atomic import write_json
from hspace_exp.io.checksums import damaged, is_noted
from hspace_exp.io.digest import config_digest as config_digest
from hspace_exp.io.digest import essential

if TYPE_CHECKING:
    import torch

FILE_NAME = "record.json"
PACKED = "records.jsonl.gz"  # those of many runs, one a line
_MOST = 64 << 20  # bytes of them; a hundred make 2 MB

_PACKAGE = Path(__file__).resolve().parents[1]

# Folders whose files decide what a run does: one that git does not know makes a checkout dirty, too.
CODE = ("hspace_exp", "hspace_rivals", "avatars_world", "conf")

PACKAGES = (
    "torch", "torchvision", "diffusers", "transformers", "lightning", "torchmetrics", "open-clip-torch",
    "segment-anything", "hydra-core", "omegaconf", "numpy", "safetensors",
)  # fmt: skip

_MAY_DIFFER = frozenset({"seconds", "device", "git", "config", "command"})


@pydantic_dataclass(frozen=True, config=ConfigDict(strict=True))
class RunRecord:
    """One run, as written to ``record.json``; ``docs/record.schema.json`` is the JSON Schema of it."""

    experiment: Annotated[str, Field(description="name of the experiment file.")]
    method: Annotated[str, Field(description='"original" is the unedited model.')]
    model: Annotated[str, Field(description="name of the backbone.")]
    attribute: Annotated[str, Field(description='what was steered, e.g. "gender".')]
    seed: Annotated[int, Field(description="the run's seed.")]
    metrics: Annotated[dict[str, MetricValue], Field(description="numbers by name.")]
    per_profession: Annotated[list[dict[str, Any]], Field(description="plain rows, one a profession.")]
    config: Annotated[dict[str, Any], Field(description="the resolved configuration.")]
    versions: Annotated[dict[str, str], Field(description="version of each package that matters.")]
    git: Annotated[
        dict[str, Any] | None, Field(description="commit, whether the tree was clean; None outside a checkout.")
    ]
    device: Annotated[str, Field(description="what computed it, in words.")]
    seconds: Annotated[dict[str, float], Field(description="wall time by stage.")]
    command: Annotated[str, Field(description='how to run it again; "" where unknown.')] = ""
    config_digest: Annotated[str, Field(description="computed from ``config`` where not given.")] = ""
    details: Annotated[dict[str, Any], Field(description="what else was found, e.g. the judge's confusion matrix.")] = (
        field(default_factory=dict)
    )
    schema: Annotated[Literal[1], Field(description="version of this layout.")] = 1

    def __post_init__(self) -> None:
        """Compute the digest."""
        if not self.config_digest:
            object.__setattr__(self, "config_digest", config_digest(self.config))

    def to_json(self) -> dict[str, Any]:
        """Plain data in the layout of ``record.json``.

        Raises UserError: a number is NaN or infinite; the message names it.
        """
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        data["metrics"] = {name: value.to_json() for name, value in self.metrics.items()}
        for where, value in leaves(data):
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"a record holds finite numbers only, got {value} at {where}: use null and a note")
        return data

    def commit(self, digits: int | None = None) -> str:
        """The commit's first ``digits``, and whether files differed from it; "unknown" outside a checkout."""
        git = self.git or {}
        return str(git.get("commit") or "unknown")[:digits] + (" with local changes" if git.get("dirty") else "")

    @property
    def strength(self) -> float | None:
        """What was given, times its factor; None for the unedited model and where there is no one number."""
        method: Any = self.config.get("method")
        strength: Any = method.get("strength") if isinstance(method, Mapping) else None
        if isinstance(strength, Mapping) and len(set(strength.values())) == 1:
            strength = next(iter(strength.values()))
        given = isinstance(strength, int | float) and self.method != "original"
        return float(strength) * float(method.get("factor", 1.0)) if given else None

    @property
    def factor(self) -> float | None:
        """By what the strengths were multiplied that the calibration found; None where strengths were given."""
        method: Any = self.config.get("method")
        found = isinstance(method, Mapping) and method.get("strength") == "auto"
        return float(method.get("factor", 1.0)) if found else None

    def write(self, folder: str | Path) -> Path:
        """Write ``record.json`` into ``folder``, whole or not at all."""
        path = Path(folder) / FILE_NAME
        write_json(path, self.to_json())
        return path


_READ = TypeAdapter(RunRecord)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``record.json``."""
    return _READ.json_schema() | {"$schema": "https://json-schema.org/draft/2020-12/schema"}


def read_record(path: str | Path) -> RunRecord:
    """Read a ``record.json``, or the one in a run's folder.

    Raises UserError: there is none, it is cut short, it is something else, or it changed since it was written.
    """
    path = Path(path)
    path = path / FILE_NAME if path.is_dir() else path
    if is_noted(path) is False:
        raise UserError(f"the record {path} is not what its run wrote: run the command again that made it")
    with getting(f"the record {path}", "run the command that makes it"):
        return _parsed(path.read_text(encoding="utf-8"))


def read_packed(path: str | Path) -> list[RunRecord]:
    """Read a ``records.jsonl.gz``: records of several runs, one a line, packed by gzip.

    Raises UserError: there is none, it is damaged or too large, or a line is no record; the message names the line.
    """
    with getting(f"the records {path}", "get the file again", zlib.error), gzip.open(path) as file:
        data = file.read(_MOST + 1)
        if len(data) > _MOST:
            raise ValueError(f"more than {_MOST >> 20} MiB unpacked")
    records = []
    for number, line in enumerate(data.splitlines(), 1):
        with getting(f"line {number} of the records {path}", "get the file again"):
            records.append(_parsed(line.decode()))
    return records


def _parsed(text: str) -> RunRecord:
    # As JSON again: read from Python objects, strict means instances.
    return _READ.validate_json(json.dumps(json.loads(text), allow_nan=False))


def done(run_dir: Path, config: Mapping[str, Any]) -> RunRecord | None:
    """The record of this very configuration, where a run left it and all that it promised is as it was left."""
    with suppress(UserError):
        record = read_record(run_dir)
        same = config_digest(record.config) == config_digest(config) and not lacking(record.config, config)
        return record if same and not damaged(run_dir) else None  # all files are read last
    return None


def lacking(held: Mapping[str, Any], asked: Mapping[str, Any]) -> set[str]:
    """Metrics that are asked for otherwise than in a record's configuration; that of version 0.1 names none."""
    there, wanted = ((one.get("evaluator") or {}).get("metrics") for one in (held, asked))
    if there is None or wanted is None:
        return set()
    return {name for name, node in wanted.items() if name not in there or essential(there[name]) != essential(node)}


def differences(a: RunRecord, b: RunRecord) -> list[str]:
    """Where two records disagree, apart from ``seconds``, ``device``, ``git`` and how they were started.

    Configurations are compared by digest, so that other folders, devices or batch sizes are no difference. One line a
    difference, e.g. ``metrics.fid.value: 1.2 != 1.3``.
    """
    told = ({k: v for k, v in record.to_json().items() if k not in _MAY_DIFFER} for record in (a, b))
    left, right = (dict(leaves(one)) for one in told)
    pairs = {where: (left.get(where, "absent"), right.get(where, "absent")) for where in (left | right)}
    return [f"{where}: {x} != {y}" for where, (x, y) in pairs.items() if x != y]


def versions() -> dict[str, str]:
    """Version of Python and of each package that matters, where it is installed."""
    found = {"python": platform.python_version(), "hspace-exp": __version__}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def git_state(root: Path = _PACKAGE.parent) -> dict[str, object] | None:
    """Commit of a checkout, by default this package's, and whether files differ from it; None outside a checkout.

    A checkout is dirty where a known file was changed, or where a folder of ``CODE`` has one that git does not know.
    Where an exported tree runs without its history, the variable ``HSPACE_EXP_COMMIT`` names the commit it is of.
    """
    if exported := os.environ.get("HSPACE_EXP_COMMIT"):
        return {"commit": exported, "dirty": False}
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
        changed += _git(root, "ls-files", "--others", "--exclude-standard", "--", *CODE)
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(changed)}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def shareable(config: Any) -> Any:
    """``config`` with paths inside this package told from the package's folder on.

    Records are shared; where their maker keeps the package is nobody's business. Digests, which count absolute paths by
    their last name only, stay the same.
    """
    if isinstance(config, Mapping):
        return {name: shareable(value) for name, value in config.items()}
    if isinstance(config, list):
        return [shareable(value) for value in config]
    if isinstance(config, str) and Path(config).is_relative_to(_PACKAGE):
        return f"/{Path(config).relative_to(_PACKAGE.parent).as_posix()}"
    return config


def describe_device(device: torch.device) -> str:
    """The device in words, e.g. "NVIDIA H200" or "CPU x86_64, 2 threads"."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"CPU {platform.machine()}, {torch.get_num_threads()} threads"
    return device.type


def leaves(value: object, where: str = "", lists: bool = True) -> Iterator[tuple[str, Any]]:
    """Dotted key and value of all that plain data holds, without ``lists`` those as one value each."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from leaves(item, f"{where}.{name}" if where else str(name), lists)
    elif lists and isinstance(value, list | tuple) and value:
        for i, item in enumerate(value):
            yield from leaves(item, f"{where}[{i}]")
    else:
        yield where, value


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
