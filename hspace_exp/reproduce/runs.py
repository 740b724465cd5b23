"""From sweeps to single runs, with the folder of each and whether it is done."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from hspace_exp.config.command_line import CONF, importing
from hspace_exp.config.schema import register
from hspace_exp.errors import UserError
from hspace_exp.io.atomic import write_text
from hspace_exp.io.digest import config_digest
from hspace_exp.reproduce.lists import Sweep
from hspace_exp.results.record import FILE_NAME, read_record

log = logging.getLogger(__name__)

UNEDITED = "original"


@dataclass(frozen=True)
class Planned:
    """One run.

    Attributes:
        overrides: what ``python -m hspace_exp`` would be given.
        folder: where that would leave its results.
        config: resolved.
    """

    overrides: tuple[str, ...]
    folder: Path
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Experiment, attribute, method and the rest of the folder's name."""
        return " ".join(part for part in self.folder.parts[-5:] if part != self.config["model"]["name"])

    @property
    def done(self) -> bool:
        """Whether the folder holds the record of this very configuration."""
        if not (self.folder / FILE_NAME).exists():
            return False
        try:
            return config_digest(read_record(self.folder).config) == config_digest(self.config)
        except UserError:  # cut short: it is made again
            return False


def planned(
    sweep: Sweep, protocol: str, model: str, methods: Sequence[str] = (), more: Sequence[str] = ()
) -> list[Planned]:
    """The runs of a sweep, in the order in which Hydra's multirun would make them.

    Args:
        sweep: what is swept.
        protocol: unless the sweep has a smaller one of its own.
        model: choice of conf/model.
        methods: only these; empty for all.
        more: overrides that every run gets.
    """
    fixed = [f"+experiment={sweep.experiment}", f"model={model}", f"protocol={sweep.protocol or protocol}", *more]
    if not any(text.startswith("logger=") for text in more):
        fixed.append("logger=none")
    found = []
    for swept in itertools.product(*_values(sweep)):
        method = next((text.partition("=")[2] for text in swept if text.startswith("method=")), "")
        if methods and method not in methods:
            continue
        seeds = sweep.seeds[:1] if method == UNEDITED else sweep.seeds
        found += [plan_run([*fixed, *swept, f"seed={seed}"]) for seed in seeds]
    return found


def plan_run(overrides: Sequence[str]) -> Planned:
    """The run that ``python -m hspace_exp`` would make of some overrides."""
    with importing():
        from hspace_exp.pipeline.parts import plain_config  # imports torch, which --help does without

    cfg, folder = composed(overrides)
    return Planned(tuple(overrides), folder, plain_config(cfg))


def make_run(overrides: Sequence[str], folder: Path, stages: Sequence[str] = ()) -> None:
    """Make a run in this process, as ``python -m hspace_exp`` would; models that are loaded are not shared.

    Args:
        overrides: of the run.
        folder: of its results.
        stages: only these; empty for all.
    """
    from hspace_exp.pipeline.run import run

    cfg, _ = composed(overrides)
    if stages:
        cfg.stages = list(stages)
    write_text(folder / ".hydra" / "config.yaml", OmegaConf.to_yaml(cfg))
    write_text(folder / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(list(overrides)))
    run(cfg, folder, list(overrides))


def composed(overrides: Sequence[str]) -> tuple[DictConfig, Path]:
    """The configuration of a run, and the folder that Hydra would give it."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", list(overrides), return_hydra_config=True)
    folder = Path(cfg.hydra.run.dir)
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]), folder


def _values(sweep: Sweep) -> list[list[str]]:
    """What is swept: one list of overrides a key."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        own = compose("config", [f"+experiment={sweep.experiment}"], return_hydra_config=True).hydra.sweeper.params
    params = {**(own or {}), **sweep.values}
    parser = OverridesParser.create()
    return [_single(parser.parse_override(f"{key}={values}")) for key, values in params.items()]


def _single(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [str(override.input_line)]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
