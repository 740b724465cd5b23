"""``hspace-exp reproduce``: make the runs that tables need, then tables and figures from their records."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from hspace_exp.config.checks import plain_config
from hspace_exp.config.command_line import INTERRUPTED, composed
from hspace_exp.errors import UserError, unknown
from hspace_exp.io.digest import config_digest
from hspace_exp.io.locks import cores
from hspace_exp.results.record import FILE_NAME, read_record
from hspace_exp.results.runs import Run

FAILED = 1  # exit code
# What only the embedded model draws.
WORLD_ONLY = ("skin_tone_fairness", "intersectional_fairness", "removal", "transformers", "replication")
PHOTOS_ONLY = ("race_fairness",)


@dataclass(frozen=True)
class Sweep:
    """One multirun of a file in conf/experiment."""

    experiment: str
    # key → comma-separated values, beside or instead of those in the experiment's file and of the model that is asked
    # for; without a seed it is 0
    values: Mapping[str, str] = field(default_factory=dict)
    protocol: str = ""  # name of a smaller protocol for this experiment; "" for the one that is asked for


@dataclass
class Planned:
    """One run of a sweep: where it leaves its results, and its resolved configuration."""

    folder: Path
    config: Mapping[str, Any]
    result: Run | None = None

    @property
    def done(self) -> bool:
        """Whether the folder holds the record of this very configuration: ``result``, which is read once."""
        if self.result is None and (self.folder / FILE_NAME).exists():
            with suppress(UserError):  # cut short: it is made again
                record = read_record(self.folder)
                if config_digest(record.config) == config_digest(self.config):
                    self.result = Run(self.folder / FILE_NAME, record)
        return self.result is not None


_PARTS: dict[str, tuple[Sweep, ...]] = {
    part: tuple(Sweep(*one) for one in some)
    for part, some in yaml.safe_load(Path(__file__).with_name("sweeps.yaml").read_text("utf-8")).items()
}
_METHODS, _USE, _SETTINGS, _SEEDS = (_PARTS[part] for part in ("methods", "use", "settings", "seeds"))
_OTHER_MODELS = tuple(
    replace(sweep, values={"model": "avatars_dit", **sweep.values}) for sweep in _PARTS["other_models"]
)
LISTS: dict[str, tuple[Sweep, ...]] = {
    "smoke": _PARTS["smoke"],
    "demo": _METHODS + _USE + _SETTINGS + _OTHER_MODELS + _PARTS["trained"],
    # Three seeds for gender, a third of the images where a method has many runs, settings at their own size.
    "full": (
        *_SEEDS,
        *(sweep for sweep in _METHODS if sweep.experiment not in {other.experiment for other in _SEEDS}),
        *(replace(sweep, values={**sweep.values, "protocol.images_per_profession": "20"}) for sweep in _USE),
        *(replace(sweep, protocol="settings") for sweep in _SETTINGS),
        *_OTHER_MODELS,
        *_PARTS["trained"],
    ),
    # The published set-up measures all professions, whichever group prompts.measured names.
    "paper": _METHODS + tuple(sweep for sweep in _USE if sweep.experiment != "professions") + _SETTINGS,
}


def sweeps(protocol: str, model: str, experiments: Sequence[str] = ()) -> list[Sweep]:
    """The sweeps of a protocol, a key of ``LISTS``, that a model can run; of some experiments alone, if any are named.

    Experiments whose models are not trained yet are left out. Raises UserError: the protocol or an experiment is
    unknown, has nothing to measure on this model, or needs one that is not trained.
    """
    if protocol not in LISTS:
        raise unknown("protocol", protocol, LISTS)
    left_out = PHOTOS_ONLY if model.startswith("avatars") else WORLD_ONLY
    known = list(dict.fromkeys(sweep.experiment for sweep in LISTS[protocol]))
    sources = {sweep.experiment: sweep.values.get("model.source") for sweep in LISTS[protocol]}
    untrained = [name for name, source in sources.items() if source and not Path(source).is_dir()]
    for name in experiments:
        if name not in known:
            raise unknown("experiment", name, known)
        if name in left_out:
            raise UserError(f"experiment {name} has nothing to measure on model={model}: choose another model")
        if name in untrained:
            raise UserError(
                f"experiment {name} needs {sources[name]}: train it first, see experiments/{name}/README.md"
            )
    chosen = experiments or [name for name in known if name not in (*left_out, *untrained)]
    return [sweep for sweep in LISTS[protocol] if sweep.experiment in chosen]


def overrides_of(
    sweep: Sweep, protocol: str, model: str, methods: Sequence[str] = (), more: Sequence[str] = ()
) -> list[str] | None:
    """What ``python -m hspace_exp -m`` is given for a sweep; None where none of its methods is asked for.

    A sweep may have a smaller ``protocol`` of its own. Without ``methods`` all are asked for; ``more`` overrides go to
    every run.
    """
    swept = composed([f"+experiment={sweep.experiment}"], return_hydra_config=True).hydra.sweeper.params or {}
    values = {str(key): str(value) for key, value in swept.items()} | {**sweep.values}
    if methods and "method" in values:
        left = [name for name in values["method"].replace(" ", "").split(",") if name in methods]
        if not left:
            return None
        values["method"] = ",".join(left)
    own = f"model={values.pop('model', model)}", f"protocol={sweep.protocol or protocol}"
    fixed = [f"+experiment={sweep.experiment}", *own, *more]
    if not any(text.startswith("logger=") for text in more):
        fixed.append("logger=none")
    values.setdefault("seed", "0")
    return [*fixed, *(f"{key}={some}" for key, some in values.items())]


def planned(overrides: Sequence[str]) -> list[Planned]:
    """The runs that a multirun of these overrides makes, in its order."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    found = []
    for job in jobs:
        cfg = composed(job, return_hydra_config=True)
        own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
        found.append(Planned(Path(cfg.hydra.run.dir), plain_config(own)))
    return found


def reproduce(**given: Any) -> int:
    """Make runs and tables, with the options of the command; returns the exit code."""
    options = SimpleNamespace(**given)
    started = time.monotonic()
    methods, experiments = (list(filter(None, one.split(","))) for one in (options.methods, options.experiments))
    asked = [
        overrides_of(sweep, options.protocol, options.model, methods, options.overrides or ())
        for sweep in sweeps(options.protocol, options.model, experiments)
    ]
    found = [(overrides, planned(overrides)) for overrides in asked if overrides]
    if not found:
        raise UserError(f"no run is left with methods {', '.join(methods)}: name others")
    runs = list({run.folder: run for _, some in found for run in some}.values())
    print(f"{len(runs)} runs, {sum(run.done for run in runs)} of them done", flush=True)
    if options.list_only:
        for overrides, some in found:
            print(f"{sum(run.done for run in some)} of {len(some)} done: hspace-exp run -m {' '.join(overrides)}")
        return 0
    if not options.tables_only:
        _run(found, options.jobs)
    done = [run for run in runs if run.done]
    if done:
        from hspace_reproduce.tables import write_tables

        folder, results = options.out / options.protocol / options.model, [run.result for run in done if run.result]
        written = write_tables(results, folder)
        print(f"{len(written)} files of tables and figures in {folder}")
    print(f"{len(done)} of {len(runs)} runs are done, after {time.monotonic() - started:.0f} s")
    if options.tables_only or len(done) == len(runs):
        return 0
    for run in runs:
        if run not in done:
            print(f"failed: see {run.folder / 'run.log'}", file=sys.stderr)
    return FAILED


def _run(found: Sequence[tuple[list[str], list[Planned]]], jobs: int) -> None:
    """Make what is not done, by Hydra's multirun, one sweep after another."""
    from hspace_exp.job import main as multirun

    launcher = []
    if jobs > 1:
        launcher = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}"]
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // jobs)))
    given = [*sys.argv]
    try:
        for overrides, runs in found:
            if not all(run.done for run in runs) and multirun(["-m", *overrides, *launcher]) == INTERRUPTED:
                raise KeyboardInterrupt
    finally:
        sys.argv = given
