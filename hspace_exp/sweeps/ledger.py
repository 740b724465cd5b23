"""A sweep and what its jobs tell it: a small file each, so that the processes of any launcher can write them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from hspace_exp.config.schema import register
from hspace_exp.io.atomic import write_json
from hspace_exp.io.digest import digest

RUNNING, DONE, FAILED = "running", "done", "failed"
FOLDER = ".sweeps"
_SHORT = 8


@dataclass(frozen=True)
class Note:
    """How a job is doing.

    Attributes:
        number: of the job within its sweep.
        name: its folder below the sweep's.
        experiment: its name.
        folder: of its results.
        state: ``running``, ``done`` or ``failed``; what is still running at the end lost its process.
        error: one line, where it failed.
        array: Slurm's number of the job array that it belongs to, if any.
    """

    number: int
    name: str
    experiment: str
    folder: str
    state: str = RUNNING
    error: str = ""
    array: str = ""


@dataclass(frozen=True)
class Sweep:
    """One multirun; ``code`` is the same for the same command, however it is launched."""

    results: Path
    code: str

    @property
    def folder(self) -> Path:
        """Where notes and locks are while the sweep runs."""
        return self.results / FOLDER / self.code

    def group(self, experiment: str) -> str:
        """What loggers call the runs of an experiment that belong together."""
        return f"{experiment}-{self.code}"

    def write(self, note: Note) -> None:
        """Write a note over that job's last one."""
        write_json(self.folder / f"{note.number}.json", asdict(note))

    def notes(self) -> list[Note]:
        """The last note of every job that began, in the order of the jobs."""
        texts = [path.read_text(encoding="utf-8") for path in self.folder.glob("[0-9]*.json")]
        return sorted((Note(**json.loads(text)) for text in texts), key=lambda note: note.number)

    def clear(self) -> None:
        """Remove notes and locks."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.parent.is_dir() and not any(self.folder.parent.iterdir()):
            self.folder.parent.rmdir()


def sweep_of(results: Path, overrides: Sequence[str], params: Mapping[str, Any] | None) -> Sweep:
    """The sweep into a folder, of a command line's overrides and an experiment's own ``hydra.sweeper.params``."""
    return Sweep(results.absolute(), digest([sorted(overrides), dict(params or {})])[:_SHORT])


class SweepCallback(Callback):
    """Hydra's hook: knows the sweep; launchers send it to the processes of their jobs."""

    current: Sweep | None = None  # of the class: what this process belongs to
    sweep: Sweep | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive in a job's process, which composes a configuration before it runs anything of ours."""
        register()
        self.__dict__.update(state)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Begin, without the notes of an earlier attempt."""
        params = OmegaConf.to_container(config.hydra.sweeper.get("params") or OmegaConf.create(), resolve=False)
        overrides = [str(text) for text in config.hydra.overrides.task]
        named = {str(key): value for key, value in params.items()} if isinstance(params, dict) else None
        SweepCallback.current = self.sweep = sweep_of(Path(config.hydra.sweep.dir), overrides, named)
        self.sweep.clear()

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Tell the job's process."""
        SweepCallback.current = self.sweep
