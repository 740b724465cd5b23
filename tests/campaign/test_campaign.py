"""The campaign's own parts; the campaign itself is ``make campaign``."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.campaign.damage import DAMAGES, damaged
from tests.campaign.harness import CHECKED, Case, Result, ended, judged, run_all, started, written


@pytest.mark.parametrize(
    ("code", "error", "outcome"),
    [
        (0, "", "accepted"),
        (CHECKED, "12:00:00 loading …\n", "accepted"),
        (2, "12:00:00 loading …\nerror: no such file\n", "refused"),
        (2, "note\nerror: no such file\n", "several lines"),
        (2, "", "several lines"),
        (1, "Traceback (most recent call last):\n", "traceback"),
        (-signal.SIGSEGV, "", "traceback"),
        (-signal.SIGALRM, "", "hung"),
    ],
)
def test_outcomes_follow_from_what_a_command_says(code: int, error: str, outcome: str) -> None:
    assert judged(code, error) == outcome


def test_commands_run_in_folders_of_their_own(tmp_path: Path) -> None:
    refused = Case("x", ("tables", "nothing"))(tmp_path / "refused")
    assert refused.outcome == "refused"
    assert "no such file or folder" in refused.told
    silent = Case("x", ("--version",), must_refuse=True)(tmp_path / "accepted")
    assert silent.outcome == "silent"
    assert ended(started(["--version"], tmp_path, tmp_path)) == 0
    assert written(tmp_path) == ""


def test_jobs_end_each_in_a_process(tmp_path: Path) -> None:
    def failing(here: Path) -> Result:
        raise OSError("it fails")

    def jobs() -> Iterator[object]:
        while True:
            yield failing
            yield lambda here: Result("x", "equal", str(here))

    found = list(run_all(islice(jobs(), 4), tmp_path, 2, 1e12))  # type: ignore[arg-type]
    assert sorted(one.outcome for one in found) == ["equal", "equal", "traceback", "traceback"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", sorted(DAMAGES))
def test_every_damage_changes_a_file(tmp_path: Path, how: str) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(bytes(range(1, 200)))
    other.write_bytes(b"other")
    damaged(path, how, other, random.Random(0))
    assert not path.is_file() or path.read_bytes() != bytes(range(1, 200))
