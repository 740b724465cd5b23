"""Hydra's hook: a sweep begins in one process, and its jobs, whichever process they get, know it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from hspace_exp.config.schema import register
from hspace_exp.sweeps.ledger import Sweep, sweep_of

_current: Sweep | None = None


def current() -> Sweep | None:
    """The sweep that this process belongs to."""
    return _current


def leave() -> None:
    """Belong to no sweep from now on."""
    _enter(None)


class SweepCallback(Callback):
    """Knows the sweep; launchers send it to the processes of their jobs."""

    sweep: Sweep | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive in a job's process, which composes a configuration before it runs anything of ours."""
        register()
        self.__dict__.update(state)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Begin, without the notes of an earlier attempt."""
        params = OmegaConf.select(config, "hydra.sweeper.params")
        plain = OmegaConf.to_container(params, resolve=False) if params is not None else None
        overrides = [str(text) for text in config.hydra.overrides.task]
        named = {str(key): value for key, value in plain.items()} if isinstance(plain, dict) else None
        self.sweep = sweep_of(Path(config.hydra.sweep.dir), overrides, named)
        self.sweep.clear()
        _enter(self.sweep)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Tell the job's process."""
        _enter(self.sweep)


def _enter(sweep: Sweep | None) -> None:
    global _current
    _current = sweep
