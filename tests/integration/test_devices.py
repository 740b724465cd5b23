"""Two processes: the same vectors, images, manifest and record as one, also when the second is killed."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from hspace_exp.concepts.concept import load_concept
from hspace_exp.generation import generate
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
    forked: Callable[..., ForkProcess],
    own: Callable[[str], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert cli(*own("alone"), "method=prompt").code == 0
    for name, value in (("RANK", 1), ("LOCAL_RANK", 1), ("WORLD_SIZE", 2)):
        monkeypatch.setenv(name, str(value))
    mark, honest, edited = tmp_path / "holds_a_chunk", generate.sample_chunk, []

    def hangs(*arguments: Any) -> torch.Tensor:
        *_, edit, _ = arguments
        if edit is not None:
            mark.touch()
            time.sleep(600)
        return honest(*arguments)

    def stops_for_good() -> None:
        generate.sample_chunk = hangs

    second = forked(tmp_path / "second.log", *own("run"), "method=prompt", prepare=stops_for_good)

    def after_the_other_has_one(*arguments: Any) -> torch.Tensor:
        *_, edit, _ = arguments
        if edit is not None:
            until = time.monotonic() + 120
            while not mark.exists() and second.is_alive() and time.monotonic() < until:
                time.sleep(0.02)
            if not edited:
                threading.Timer(0.5, second.kill).start()
            edited.append(mark.exists())
        return honest(*arguments)

    monkeypatch.setattr(generate, "sample_chunk", after_the_other_has_one)
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    outcome = cli(*own("run"), "method=prompt")
    second.join(60)
    assert second.exitcode == -signal.SIGKILL
    assert outcome.code == 0, outcome.error
    assert edited == [True] * 6  # all of twelve images in chunks of two, that of the other one too
    assert left(tmp_path / "run") == left(tmp_path / "alone")
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["config_digest"] == config_digest(record["config"])
