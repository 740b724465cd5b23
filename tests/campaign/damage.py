"""Files of a finished run that were damaged, and runs that were killed: the same command must give equal results."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hspace_exp.results.record import differences, read_record
from tests.campaign.harness import Result, ended, judged, last_lines, started, written

_RESULTS = ("run/images/*/*/*.png", "run/concepts/*.safetensors", "run/judged.csv", "run/manifest.csv")
_SAID = ("made again", "trained again", "damaged", "starts again", "replaced", "not whole", "is evaluated again")
_LONGEST_WAIT_S = 60.0  # for helpers that still load modules


@dataclass(frozen=True)
class Command:
    """A run of the tiny world in a folder, ``run`` and ``cache`` inside of it, and what it leaves when all is well."""

    words: Sequence[str]
    reference: Path

    @classmethod
    def of(cls, tiny: Sequence[str], reference: Path, *more: str) -> Command:
        """Make the reference."""
        words = ["run", *tiny, "method=sdid", "logger=csv", *more, "paths.cache=cache", "hydra.run.dir=run"]
        folder = reference / "in"
        folder.mkdir(parents=True)
        if ended(started(words, folder, reference)):
            raise SystemExit(written(reference))
        return cls(words, folder)

    def again(self, folder: Path, here: Path) -> tuple[int, str]:
        """Run it in a folder; its exit code, and what differs from the reference, "" for nothing."""
        code = ended(started(self.words, folder, here))
        return code, different(folder, self.reference) if code == 0 else ""


def different(folder: Path, reference: Path) -> str:
    """The first difference of results, "" where there is none: pixels, tensors, tables, and records but for times."""
    for pattern in _RESULTS:
        for file in sorted(reference.glob(pattern)):
            name = file.relative_to(reference)
            try:
                same = contents(folder / name) == contents(file)
            except (OSError, ValueError, SyntaxError) as error:
                return f"{name}: {error}"
            if not same:
                return str(name)
    try:
        found, wanted = read_record(folder / "run"), read_record(reference / "run")
    except ValueError as error:
        return str(error)
    return next(iter(differences(found, wanted)), "")


def contents(file: Path) -> bytes:
    """What counts of a file."""
    return np.asarray(Image.open(file)).tobytes() if file.suffix == ".png" else file.read_bytes()


class Corruptions:
    """A finished run of which one file is damaged; for ever."""

    def __init__(self, command: Command, seed: int) -> None:
        """Take the run, and what varies the damage."""
        self.command, self.random = command, random.Random(seed)
        kept = ("run.log", ".hydra", ".md")
        files = [path for path in sorted(command.reference.rglob("*")) if path.is_file()]
        self.files = [str(path.relative_to(command.reference)) for path in files if not str(path).endswith(kept)]

    def __iter__(self) -> Iterator[Corruption]:
        """Draw one after the other."""
        while True:
            how, name = self.random.choice(sorted(DAMAGES)), self.random.choice(self.files)
            ending = Path(name).suffix
            other = self.random.choice([one for one in self.files if one.endswith(ending)])
            undone = self.random.choice([one for one in UNDONE if not name.startswith(one) or not one])
            yield Corruption(self.command, name, how, other, undone, self.random.randrange(2**32))


@dataclass(frozen=True)
class Corruption:
    """One file of a finished run is damaged, and of all that is in ``undone`` nothing is left; the command follows."""

    command: Command
    name: str
    how: str
    other: str
    undone: str
    seed: int

    def __call__(self, here: Path) -> Result:
        """Try it."""
        folder = here / "in"
        shutil.copytree(self.command.reference, folder)
        path = folder / self.name
        damaged(path, self.how, folder / self.other, random.Random(self.seed))
        if self.undone.endswith("/"):
            shutil.rmtree(folder / self.undone)
        elif self.undone:
            (folder / self.undone).unlink(missing_ok=True)
        code, difference = self.command.again(folder, here)
        outcome = judged(code, written(here))
        if outcome == "accepted":
            said = any(words in written(here) for words in _SAID)
            outcome = "silent" if difference else "repaired" if said else "equal"
        words = f"({code}) {self.how} {self.name} {self.other} {self.undone!r} {self.seed}: {difference}"
        return Result(f"corruptions: {self.how}", outcome, "\n".join([words, *last_lines(here)]))


UNDONE = ("", "run/record.json", "run/images/", "run/concepts/", "run/")
DAMAGES = {"bit flipped", "cut", "empty", "removed", "swapped", "longer", "a folder", "zeros", "unreadable text"}


def damaged(path: Path, how: str, other: Path, draw: random.Random) -> None:
    """Damage a file in one of the ``DAMAGES``."""
    data = path.read_bytes()
    where = draw.randrange(len(data) or 1)
    if how == "swapped":
        path.write_bytes(other.read_bytes())
        other.write_bytes(data)
    elif how in ("removed", "a folder"):
        path.unlink()
        if how == "a folder":
            path.mkdir()
    else:
        flipped = bytes([data[where] ^ (1 << draw.randrange(8))]) if data else b"x"
        path.write_bytes(
            {
                "bit flipped": data[:where] + flipped + data[where + 1 :],
                "cut": data[:where],
                "empty": b"",
                "longer": data + data[: draw.randrange(1, 100)],
                "zeros": data[:where] + bytes(len(data) - where),
                "unreadable text": data[:where] + b"\xff\xfe\x00" + data[where:],
            }[how]
        )


class Kills:
    """Runs that are killed, once or several times, and gone on with; for ever."""

    def __init__(self, commands: dict[str, Command], seconds: float, seed: int) -> None:
        """Take kinds of runs, how long one takes, and what varies the moments."""
        self.commands, self.seconds, self.random = commands, seconds, random.Random(seed)

    def __iter__(self) -> Iterator[Kill]:
        """Draw one after the other; the first kind of run most often."""
        names = [*self.commands]
        while True:
            name = names[0] if self.random.random() < 0.7 else self.random.choice(names)
            number = self.random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
            moments = [self.random.random() * self.seconds for _ in range(self.random.choice([1, 1, 2]))]
            yield Kill(name, self.commands[name], number, tuple(moments))


@dataclass(frozen=True)
class Kill:
    """A run that gets a signal after so many seconds, perhaps again when it goes on; the same command then ends it."""

    name: str
    command: Command
    number: signal.Signals
    moments: tuple[float, ...]

    def __call__(self, here: Path) -> Result:
        """Try it."""
        folder = here / "in"
        folder.mkdir()
        for moment in self.moments:
            pid = started(self.command.words, folder, here)
            time.sleep(moment)
            with suppress(ProcessLookupError):
                os.kill(pid, self.number)
            code = ended(pid)
            said = judged(code, written(here))
            interrupted = code == 130 and "Traceback" not in written(here)
            if code not in (0, -self.number) and not interrupted and said != "refused":
                return self.result("hung" if said == "hung" else "traceback", here, f"({code})")
            if not gone(pid):
                return self.result("side effect", here, "helpers stay")
        code, difference = self.command.again(folder, here)
        outcome = judged(code, written(here))
        if outcome == "accepted":
            outcome = "silent" if difference else "equal"
        if outcome == "equal" and (parts := leftovers(folder)):
            return self.result("side effect", here, f"left: {parts[:3]}")
        return self.result(outcome, here, f"({code}) {difference}")

    def result(self, outcome: str, here: Path, words: str) -> Result:
        """Of this kind."""
        about = f"{self.name}, {self.number.name} after {', '.join(f'{moment:.3f}' for moment in self.moments)} s"
        return Result(f"kills: {self.name}", outcome, "\n".join([f"{about}: {words}", *last_lines(here)]))


def gone(group: int) -> bool:
    """Whether all processes of a group end, soon after their first."""
    until = time.monotonic() + _LONGEST_WAIT_S
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    return False


def leftovers(folder: Path) -> list[str]:
    """Half-written files that a finished run must not leave."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*.part")]
