"""A sweep and its jobs: each fails alone, has a GPU where there are several, and may outlive its launcher on Slurm.

Jobs tell how they are doing by a small file each, so that the processes of any launcher can write them.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hspace_exp.config.checks import plain_config
from hspace_exp.config.command_line import KNOWN, exit_code, importing, one_line
from hspace_exp.config.schema import register
from hspace_exp.config.trust import check_logging
from hspace_exp.errors import UserError
from hspace_exp.io.atomic import write_json
from hspace_exp.io.digest import digest
from hspace_exp.io.locks import lock
from hspace_exp.results.record import done

log = logging.getLogger(__name__)

RUNNING, DONE, FAILED = "running", "done", "failed"
FOLDER = ".sweeps"
_ARRAY = "SLURM_ARRAY_JOB_ID"

# Locks of devices, which last as long as this process, however that ends; its jobs follow each other on one.
_held: dict[Path, Callable[[], None]] = {}


@dataclass(frozen=True)
class Note:
    """How a job is doing: its number and folder (``name``) within the sweep, and where its results are (``folder``).

    The state is ``running``, ``done`` or ``failed``; what is still running at the end lost its process. ``error`` is
    one line, where it failed, ``array`` Slurm's number of the job array that it belongs to, if any.
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
        """Leave a note in place of that job's last one."""
        write_json(self.folder / f"{note.number}.json", asdict(note))

    def notes(self) -> list[Note]:
        """The last note of every job that began, in the order of the jobs."""
        found = [Note(**json.loads(path.read_bytes())) for path in self.folder.glob("[0-9]*.json")]
        return sorted(found, key=lambda note: note.number)

    def clear(self) -> None:
        """Remove notes and locks."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # another sweep has notes, or none had any
            self.folder.parent.rmdir()


def sweep_of(results: Path, overrides: Sequence[str], params: Mapping[str, Any] | None) -> Sweep:
    """The sweep into a folder, of a command line's overrides and an experiment's own ``hydra.sweeper.params``."""
    return Sweep(results.absolute(), digest([sorted(overrides), dict(params or {})])[:8])


class SweepCallback(Callback):
    """Hydra's hook: knows the sweep; launchers send it to the processes of their jobs."""

    current: Sweep | None = None  # of the class: what this process belongs to
    began: bool = False  # of the class: whether the command's configuration was composed
    place: str = ""  # of the class: the folder of the command's results
    missing: Sequence[Path] = ()  # of the class: places of results that were not there, outer folders last
    sweep: Sweep | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive in a job's process, which composes a configuration before it runs anything of ours."""
        register()
        self.__dict__.update(state)

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """End where something is wrong, before Hydra makes anything; of what else is raised here it only warns."""
        cfg = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])

        def check() -> None:
            with importing(), suppress(OmegaConfBaseException):  # what only a job resolves: it says so itself
                if done(Path(config.hydra.run.dir), plain_config(cfg)) is None:  # or else it was checked before
                    from hspace_exp.pipeline.run import checked  # imports torch, which --help does without

                    checked(cfg)

        self._begin(config, config.hydra.run.dir, check)
        places = [Path(config.hydra.run.dir).absolute()]
        with suppress(OmegaConfBaseException):  # which the job says, too
            places.append(Path(cfg.paths.cache).absolute())
        SweepCallback.missing = [path for place in places for path in (place, *place.parents) if not path.exists()]

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Begin, without the notes of an earlier attempt."""
        self._begin(config, config.hydra.sweep.dir)
        notice = Path(config.hydra.sweep.dir).absolute() / "multirun.yaml"
        SweepCallback.missing = [path for path in (notice, *notice.parents) if not path.exists()]
        overrides = [str(text) for text in config.hydra.overrides.task]
        params: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=False)
        SweepCallback.current = self.sweep = sweep_of(notice.parent, overrides, params.get("params"))
        self.sweep.clear()

    def _begin(self, config: DictConfig, results: object, check: Callable[[], None] = lambda: None) -> None:
        def code() -> None:
            check_logging(OmegaConf.to_container(config.hydra.job_logging, resolve=False))
            if not str(results or "").strip():
                raise UserError("hydra.run.dir, or hydra.sweep.dir of a sweep, is empty: name a folder")
            check()

        SweepCallback.began, SweepCallback.place = True, str(results or "")
        if ended := exit_code(code):
            sys.exit(ended)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Tell the job's process."""
        SweepCallback.current = self.sweep


def take_back() -> None:
    """After a command was refused: remove what Hydra made for it, which is all that is in a folder of its own."""
    for path in SweepCallback.missing:
        if path.name == "multirun.yaml":
            path.unlink(missing_ok=True)
        elif path.is_dir() and {one.name for one in path.iterdir()} <= {".hydra", "run.log"}:
            shutil.rmtree(path, ignore_errors=True)


def run_job(sweep: Sweep, cfg: DictConfig, number: int, run_dir: Path, work: Callable[[], Any]) -> Any:
    """Do a job's ``work``, note how it went and return its result; an error is told and noted, and None returned.

    ``cfg`` gets the sweep's group where its logger has one, and where several GPUs are seen, one of them.
    """
    name = run_dir.relative_to(sweep.results) if run_dir.is_relative_to(sweep.results) else run_dir
    note = Note(number, str(name), str(cfg.name), str(run_dir), array=os.environ.get(_ARRAY, ""))
    sweep.write(note)
    try:
        if "group" in cfg.logger and cfg.logger.group is None:
            cfg.logger.group = sweep.group(cfg.name)
        _choose_device(sweep, cfg, number)
        result = work()
        note = replace(note, state=DONE)
    except Exception as error:  # whatever it is: it is told by name, and the other jobs go on
        known = isinstance(error, KNOWN)
        text = one_line(error) if known else " ".join(f"{type(error).__name__}: {error}".split())
        note = replace(note, state=FAILED, error=text)
        log.error("%s failed: %s", note.name, text, exc_info=not known)
        result = None
    sweep.write(note)
    return result


def _choose_device(sweep: Sweep, cfg: DictConfig, number: int) -> None:
    """Take a GPU where the configuration leaves it open; a job that spreads over several starts from the first."""
    if cfg.device != "auto" or (OmegaConf.select(cfg, "trainer.devices") or 1) > 1:
        return
    import torch  # late: composing does without

    if (count := torch.cuda.device_count()) > 1:
        cfg.device = f"cuda:{take_device(sweep.folder, count, number)}"
        log.info("on %s of %d", cfg.device, count)


def take_device(folder: Path, count: int, number: int) -> int:
    """Which of ``count`` devices this process has to itself, by lock files in ``folder``.

    Where all are taken, the ``number`` of the job decides which one is shared.
    """
    for index in range(count):
        path = folder / f"{platform.node()}-device{index}.lock"
        if (release := _held.get(path) or lock(path)) is not None:
            _held[path] = release
            return index
    return number % count


def stopped(error: Exception) -> bool:
    """Whether an error is a launcher's, as when a job's process was killed."""
    return isinstance(error, RuntimeError) or type(error).__module__.split(".")[0] == "ray"


def let_go_of_ray() -> None:
    """Stop Ray, if it runs the jobs: what they wrote and is still on its way arrives before what comes next."""
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


def wait_for_arrays(notes: Sequence[Note], pause: float = 10.0) -> None:
    """Wait for what Slurm still has after its launcher gave up, which it does at the first job that was killed.

    This process's own array is not waited for. ``pause`` is the seconds between looks, as Slurm's controller is shared.
    """
    for array in sorted({note.array for note in notes} - {"", os.environ.get(_ARRAY, "")}):
        log.warning("a job was killed; waiting for the others of Slurm's job %s", array)
        command = ["squeue", "--noheader", "--jobs", array]  # lists none, or fails, minutes after their end
        while subprocess.run(command, capture_output=True, check=False).stdout.strip():
            time.sleep(pause)
