"""Two processes: the same vectors, images, manifest and record as one, also when the second is killed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from hspace_exp.concepts.concept import load_concept
from hspace_exp.io.digest import config_digest


def left(run: Path) -> dict[str, Any]:
    """What a run left, but for what a machine and a moment decide."""
    record = json.loads((run / "record.json").read_text())
    kept = ("metrics", "per_profession", "details", "config_digest")
    found: dict[str, Any] = {key: record[key] for key in kept}
    found |= {name: (run / name).read_text() for name in ("manifest.csv", "judged.csv")}
    found |= {file.stem: load_concept(file).vector.tolist() for file in (run / "concepts").glob("*.safetensors")}
    return found | {str(file.relative_to(run)): file.read_bytes() for file in sorted((run / "images").rglob("*.png"))}


@pytest.fixture
def own(arguments: list[str], tmp_path: Path) -> Callable[[str], list[str]]:
    """Overrides of a run in a folder of its own, with a cache of its own."""
    common = [one for one in arguments if not one.startswith("paths.cache")]

    def of(name: str) -> list[str]:
        place = [f"paths.cache={tmp_path / name}.cache", f"hydra.run.dir={tmp_path / name}"]
        return [*common, "protocol.images_per_profession=6", *place]

    return of


def test_two_processes_end_with_the_record_of_one(
    cli: Callable[..., Any], own: Callable[[str], list[str]], tmp_path: Path
) -> None:
    for count in (1, 2):
        outcome = cli(*own(f"run{count}"), "method=focused", f"trainer.devices={count}")
        assert outcome.code == 0, outcome.error
    assert "failed" not in outcome.error
    assert left(tmp_path / "run2") == left(tmp_path / "run1")
    assert sorted(path.name for path in (tmp_path / "run2" / ".workers").iterdir()) == ["1.log", "ready"]


def test_a_killed_process_costs_time_only(
    cli: Callable[..., Any],
    process: Callable[..., Popen[str]],
    own: Callable[[str], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = ["method=prompt", "protocol.images_per_profession=20", "protocol.num_inference_steps=10"]
    assert cli(*own("alone"), *slow).code == 0
    started = []
    for rank in (0, 1):
        for name, value in (("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", 2)):
            monkeypatch.setenv(name, str(value))
        started.append(process(*own("run"), *slow))
    first, second = started
    edited, until = tmp_path / "run" / ".workers" / "edited", time.monotonic() + 120
    while len(list(edited.glob("*"))) < 3 and first.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    second.kill()
    second.communicate()
    _, error = first.communicate(timeout=240)
    assert first.returncode == 0, error
    assert left(tmp_path / "run") == left(tmp_path / "alone")
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["config_digest"] == config_digest(record["config"])
