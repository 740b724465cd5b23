"""``make campaign``: malformed inputs, damaged files and kills. Prints a table; ends with 1 where one went wrong."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from time import monotonic

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["WANDB_MODE"] = "offline"

from tabulate import tabulate

from tests.campaign.damage import Command, Corruptions, Kills
from tests.campaign.harness import OUTCOMES, WRONG, Result, run_all
from tests.campaign.malformed import Inputs
from tests.campaign.modules import imported
from tests.integration.conftest import build_world, tiny_run

# Share of the time that each part gets.
PARTS = {"malformed": 0.4, "corruptions": 0.25, "kills": 0.35}


def main() -> int:
    """Run the campaign; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--parts", default=",".join(PARTS), help="what to do, joined by commas")
    parser.add_argument("--most", type=int, default=10**9, help="cases of each part")
    given = parser.parse_args()
    parts = given.parts.split(",")
    imported()
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="campaign") as name:
        folder = Path(name)
        made = list(run_all(iter([world_of(folder / "world")]), folder / "first", 1, monotonic() + 60))
        assert made[0].outcome == "accepted", made
        tiny = tiny_run(folder / "world")
        began = monotonic()
        plain = Command.of(tiny, folder / "reference")
        seconds = monotonic() - began
        for part in parts:
            jobs = islice(jobs_of(part, tiny, plain, folder, seconds, given.seed), given.most)
            until = monotonic() + 60 * given.minutes * PARTS[part] / sum(PARTS[one] for one in parts)
            results += run_all(jobs, folder / part, given.workers, until)
    wrong = [result for result in results if result.outcome in WRONG]
    for result in wrong:
        print(f"\n{result.kind}: {result.outcome}\n{result.told}")
    print(f"\n{table(results)}")
    return int(bool(wrong))


def jobs_of(
    part: str, tiny: Sequence[str], plain: Command, folder: Path, seconds: float, seed: int
) -> Iterator[Callable[[Path], Result]]:
    """Cases of a part, for ever."""
    if part == "malformed":
        images = folder / "images"
        shutil.copytree(plain.reference / "run" / "images" / "edited", images)
        return iter(Inputs([*tiny], plain.reference / "run", images, seed))
    if part == "corruptions":
        return iter(Corruptions(plain, seed))
    others = {
        "W&B offline": Command.of(tiny, folder / "offline", "logger=wandb", "logger.mode=offline"),
        "trainer.devices=2": Command.of(tiny, folder / "devices", "trainer.devices=2"),
        "focused": Command.of(tiny, folder / "focused", "method=focused"),
    }
    return iter(Kills({"one process": plain, **others}, seconds, seed))


def world_of(place: Path) -> Callable[[Path], Result]:
    """Make the tiny world in a process of its own, as this one must stay without threads."""

    def made(here: Path) -> Result:
        build_world(place)
        return Result("", "accepted", "")

    return made


def table(results: Iterable[Result]) -> str:
    """Cases of each kind and what became of them."""
    kinds: dict[str, Counter[str]] = {}
    for result in results:
        kinds.setdefault(result.kind, Counter())[result.outcome] += 1
    rows = [
        [kind, sum(counts.values()), *(counts[name] for name in OUTCOMES)] for kind, counts in sorted(kinds.items())
    ]
    rows.append(["all", *(sum(int(row[i]) for row in rows) for i in range(1, len(OUTCOMES) + 2))])
    return tabulate(rows, ["", "cases", *OUTCOMES], tablefmt="github")


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # some libraries complain of their own ends
