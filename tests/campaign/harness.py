"""Cases in forked processes: what a command did, where it ran, and what it left."""

from __future__ import annotations

import os
import pickle
import re
import shlex
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

CHECKED = 77  # exit code: all was found right, and the expensive part was not begun
HUNG = -signal.SIGALRM  # how a process ends that took too long
OUTCOMES = ("accepted", "equal", "repaired", "refused", "several lines", "traceback", "side effect", "silent", "hung")
WRONG = OUTCOMES[4:]
PATIENCE_S = 120
_LOGGED = re.compile(r"\d\d:\d\d:\d\d ")  # lines of the log, before the error's


class Checked(BaseException):
    """Raised where the expensive part would begin."""


@dataclass(frozen=True)
class Result:
    """What became of a case: a line of the table, one of ``OUTCOMES``, and what repeats it."""

    kind: str
    outcome: str
    told: str


@dataclass(frozen=True)
class Case:
    """A command line, and the folder in which it runs.

    Attributes:
        kind: a line of the table.
        words: of the command line; ``{here}`` stands for the case's own folder.
        files: path below the folder → contents; a Path is copied, with all that is in it.
        must_refuse: whether accepting it is a fault.
        must_accept: whether refusing it is one.
        encoding: of the terminal.
    """

    kind: str
    words: tuple[str, ...]
    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    must_refuse: bool = False
    must_accept: bool = False
    encoding: str = "utf-8"

    def __call__(self, here: Path) -> Result:
        """Run it in a folder of its own, up to where the expensive part would begin."""
        sandbox = here / "in"
        sandbox.mkdir(parents=True)
        for name, contents in self.files.items():
            path = sandbox / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(contents, bytes):
                path.write_bytes(contents)
            elif contents.is_dir():
                shutil.copytree(contents, path, dirs_exist_ok=True)
            else:
                shutil.copyfile(contents, path)
        before = tree(sandbox)
        words = [word.replace("{here}", str(sandbox)) for word in self.words]
        code = ended(started(words, sandbox, here, self.encoding, prepare=never_begun))
        after = tree(sandbox)
        left = sorted(name for name in after.keys() | before.keys() if after.get(name) != before.get(name))
        outcome = judged(code, written(here))
        if outcome == "refused":
            outcome = "side effect" if left else "silent" if self.must_accept else outcome
        elif outcome == "accepted" and self.must_refuse:
            outcome = "silent"
        files = {name: data[:200] if isinstance(data, bytes) else "…" for name, data in self.files.items()}
        told = f"({code}) {shlex.join(self.words)!a} {files!a} {self.encoding}"
        return Result(self.kind, outcome, "\n".join([told, *last_lines(here), *(f"left: {name}" for name in left[:4])]))


def never_begun() -> None:
    """From now on commands of this process stop where all has been checked and models would start to work."""
    from hspace_exp.generation import request
    from hspace_exp.pipeline import run
    from hspace_reproduce import reproduce

    honest = run.make_parts

    def stop(*_: object, **__: object) -> None:
        raise Checked

    def parts_then_stop(*given: object, **options: object) -> None:
        honest(*given, **options)  # type: ignore[arg-type]
        raise Checked

    run.make_parts = parts_then_stop  # type: ignore[assignment]
    request.generate = stop  # type: ignore[assignment]
    reproduce._run = stop  # type: ignore[assignment]


def told(words: Sequence[str]) -> int:
    """Run a command of ``hspace-exp`` in this process; returns its exit code."""
    from hspace_exp.__main__ import main

    sys.argv = ["hspace-exp", *words]
    try:
        return main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Checked:
        return CHECKED


def started(
    words: Sequence[str],
    folder: Path,
    here: Path,
    encoding: str = "utf-8",
    prepare: Callable[[], None] = lambda: None,
) -> int:
    """Start a command in a folder; returns the number of its process. What it says goes to files in ``here``."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.alarm(PATIENCE_S)
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for stream, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(here / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        # As Python opens them.
        sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding=encoding, errors="backslashreplace", closefd=False, buffering=1)  # noqa: SIM115
        prepare()
        code = told(words)
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        with suppress(BaseException):
            sys.stderr.flush()
        os._exit(code)


def ended(pid: int) -> int:
    """Wait for a process; its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def judged(code: int, error: str) -> str:
    """What the exit code and the words of a command say."""
    lines = [line for line in error.splitlines() if line.strip() and not _LOGGED.match(line)]
    if code == HUNG:
        return "hung"
    if "Traceback (most recent call last)" in error or code < 0 or code not in (0, 1, 2, 75, CHECKED, 130):
        return "traceback"
    if code in (0, 1, 75, CHECKED):
        return "accepted"
    return "refused" if len(lines) == 1 and lines[0].startswith("error: ") else "several lines"


def written(here: Path) -> str:
    """What a command wrote to stderr."""
    path = here / "stderr"  # not there where it was killed before it could write
    return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""


def last_lines(here: Path) -> list[str]:
    """The end of it."""
    return [f"{line[:300]!a}" for line in written(here).splitlines() if line.strip()][-3:]


def tree(folder: Path) -> dict[str, object]:
    """Path below a folder → what it is and when it was written."""
    found: dict[str, object] = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(place, name)
            about = os.lstat(path)
            found[os.path.relpath(path, folder)] = "folder" if name in folders else (about.st_size, about.st_mtime_ns)
    return found


def run_all(jobs: Iterator[Callable[[Path], Result]], folder: Path, workers: int, deadline: float) -> Iterator[Result]:
    """Run jobs in forked processes, some at once, until there are none or it is late (``time.monotonic``)."""
    running: dict[int, Path] = {}
    count = 0
    while True:
        while len(running) < workers and time.monotonic() < deadline and (job := next(jobs, None)) is not None:
            here = folder / str(count)
            here.mkdir(parents=True)
            count += 1
            pid = os.fork()
            if not pid:
                try:
                    result = job(here)
                except BaseException:
                    result = Result("campaign", "traceback", traceback.format_exc())
                (here / "result").write_bytes(pickle.dumps(result))
                os._exit(0)
            running[pid] = here
        if not running:
            return
        pid, _ = os.wait()
        here = running.pop(pid)
        yield pickle.loads((here / "result").read_bytes())
        shutil.rmtree(here, ignore_errors=True)
