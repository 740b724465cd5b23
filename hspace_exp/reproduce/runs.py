"""Which runs the tables of each protocol are made of, the folder of each, and whether it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from hspace_exp.config.command_line import composed, importing
from hspace_exp.errors import UserError, unknown
from hspace_exp.io.digest import config_digest
from hspace_exp.results.record import FILE_NAME
from hspace_exp.results.runs import Run, find_runs

WORLD_ONLY = ("skin_tone_fairness", "intersectional_fairness")  # what only the embedded model draws
PHOTOS_ONLY = ("race_fairness",)


@dataclass(frozen=True)
class Sweep:
    """One multirun of a file in conf/experiment."""

    experiment: str
    # key → comma-separated values, beside or instead of those in the experiment's file; without a seed it is 0
    values: Mapping[str, str] = field(default_factory=dict)
    protocol: str = ""  # name of a smaller protocol for this experiment; "" for the one that is asked for


@dataclass
class Planned:
    """One run of a sweep: where it leaves its results, and its resolved configuration."""

    folder: Path
    config: Mapping[str, Any]
    result: Run | None = None

    @property
    def name(self) -> str:
        """Experiment, attribute, method and the rest of the folder's name."""
        return " ".join(part for part in self.folder.parts[-5:] if part != self.config["model"]["name"])

    @property
    def done(self) -> bool:
        """Whether the folder holds the record of this very configuration: ``result``, which is read once."""
        if self.result is None and (self.folder / FILE_NAME).exists():
            with suppress(UserError):  # cut short: it is made again
                (found,) = find_runs([self.folder / FILE_NAME])
                self.result = found if config_digest(found.record.config) == config_digest(self.config) else None
        return self.result is not None


_PARTS: dict[str, tuple[Sweep, ...]] = {
    part: tuple(Sweep(*one) for one in some)
    for part, some in yaml.safe_load(Path(__file__).with_name("sweeps.yaml").read_text("utf-8")).items()
}
_METHODS, _USE, _SETTINGS = (_PARTS[part] for part in ("methods", "use", "settings"))
LISTS: dict[str, tuple[Sweep, ...]] = {
    "smoke": _PARTS["smoke"],
    "demo": _METHODS + _USE + _SETTINGS,
    # Three seeds for gender, a third of the images where a method has many runs, settings at demo's size.
    "full": (
        *(*_PARTS["seeds"], *_METHODS[1:]),
        *(replace(sweep, values={"protocol.images_per_profession": "20"}) for sweep in _USE),
        *(replace(sweep, protocol="demo") for sweep in _SETTINGS),
    ),
    # The published set-up measures all professions, whichever group prompts.measured names.
    "paper": _METHODS + tuple(sweep for sweep in _USE if sweep.experiment != "professions") + _SETTINGS,
}


def sweeps(protocol: str, model: str, experiments: Sequence[str] = ()) -> list[Sweep]:
    """The sweeps of a protocol, a key of ``LISTS``, that a model can run; of some experiments alone, if any are named.

    Raises UserError: the protocol or an experiment is unknown, or has nothing to measure on this model.
    """
    if protocol not in LISTS:
        raise unknown("protocol", protocol, LISTS)
    left_out = PHOTOS_ONLY if model == "avatars" else WORLD_ONLY
    known = list(dict.fromkeys(sweep.experiment for sweep in LISTS[protocol]))
    for name in experiments:
        if name not in known:
            raise unknown("experiment", name, known)
        if name in left_out:
            raise UserError(f"experiment {name} has nothing to measure on model={model}: choose another model")
    chosen = experiments or [name for name in known if name not in left_out]
    return [sweep for sweep in LISTS[protocol] if sweep.experiment in chosen]


def overrides_of(
    sweep: Sweep, protocol: str, model: str, methods: Sequence[str] = (), more: Sequence[str] = ()
) -> list[str] | None:
    """What ``python -m hspace_exp -m`` is given for a sweep; None where none of its methods is asked for.

    A sweep may have a smaller ``protocol`` of its own. Without ``methods`` all are asked for; ``more`` overrides go to
    every run.
    """
    values = {**_own_values(sweep.experiment), **sweep.values}
    if methods and "method" in values:
        left = [name for name in values["method"].replace(" ", "").split(",") if name in methods]
        if not left:
            return None
        values["method"] = ",".join(left)
    fixed = [f"+experiment={sweep.experiment}", f"model={model}", f"protocol={sweep.protocol or protocol}", *more]
    if not any(text.startswith("logger=") for text in more):
        fixed.append("logger=none")
    values.setdefault("seed", "0")
    return [*fixed, *(f"{key}={some}" for key, some in values.items())]


def planned(overrides: Sequence[str]) -> list[Planned]:
    """The runs that a multirun of these overrides makes, in its order."""
    with importing():
        from hspace_exp.pipeline.parts import plain_config  # imports torch, which --help does without

    parsed = OverridesParser.create().parse_overrides(list(overrides))
    (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    found = []
    for job in jobs:
        cfg = composed(job, return_hydra_config=True)
        own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
        found.append(Planned(Path(cfg.hydra.run.dir), plain_config(own)))
    return found


def _own_values(experiment: str) -> dict[str, str]:
    """What an experiment's file sweeps."""
    cfg = composed([f"+experiment={experiment}"], return_hydra_config=True)
    return {str(key): str(value) for key, value in (cfg.hydra.sweeper.params or {}).items()}
