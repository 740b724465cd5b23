"""Prompts of one's own, through the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_a_file_of_prompts_is_measured_whole_whatever_the_protocol_names(
    cli: Callable[..., Any], arguments: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "own.csv"
    file.write_text("id,prompt,categories\n1,a doctor in the city,one\n2,a nurse/person,one\n3,a smiling person,two\n")
    run, added = tmp_path / "run", "+metric@evaluator.metrics=[parity_gap,normalised_entropy]"
    given = [*arguments, "method=sdid", f"prompts.file={file}", added, f"hydra.run.dir={run}"]
    outcome = cli(*given)
    assert outcome.code == 0, outcome.error
    record = json.loads((run / "record.json").read_text())
    assert record["config"]["protocol"]["professions"] == ["one", "two"]
    assert "smiling" not in json.dumps(record["config"]["prompts"])
    rows = list(csv.DictReader((run / "manifest.csv").read_text().splitlines()))
    assert [(r["profession"], r["prompt"], r["target"]) for r in rows] == [
        ("one", "a doctor in the city", "female"),
        ("one", "a doctor in the city", "male"),
        ("one", "a nurse/person", "male"),
        ("one", "a nurse/person", "female"),
        ("two", "a smiling person", "female"),
        ("two", "a smiling person", "male"),
    ]
    assert len({(run / r["edited"]).resolve() for r in rows}) == 6
    metrics = record["metrics"]
    assert metrics["parity_gap"]["value"] == pytest.approx(metrics["deviation_ratio"]["value"] / 2, abs=1e-6)
    assert 0 <= metrics["normalised_entropy"]["value"] <= 1
    assert "Parity gap" not in cli("tables", str(run)).output
    assert "Parity gap" in cli("tables", str(run), "--metrics", "parity_gap,deviation_ratio").output
    assert cli("report", str(run)).code == 0

    before = (run / "record.json").stat().st_mtime_ns
    assert "nothing to do" in cli(*given).error
    assert (run / "record.json").stat().st_mtime_ns == before
    images = {path.relative_to(run): path.read_bytes() for path in run.rglob("original/**/*.png")}
    file.write_text("prompt\na smiling person\na doctor in the city\n")  # others, in another order: the same noises
    assert cli(*given).code == 0
    left = {path.relative_to(run): path.read_bytes() for path in run.rglob("original/**/*.png")}
    assert len(left) >= 4
    assert all(images[path] == content for path, content in left.items())


@pytest.mark.parametrize("content", [None, "", "twice\ntwice\n"], ids=["none", "empty", "twice"])
def test_a_wrong_file_is_one_line_and_leaves_nothing(
    cli: Callable[..., Any], arguments: list[str], tmp_path: Path, content: str | None
) -> None:
    file, run = tmp_path / "own.txt", tmp_path / "run"
    if content is not None:
        file.write_text(content)
    outcome = cli(*arguments, "method=sdid", f"prompts.file={file}", f"hydra.run.dir={run}")
    assert outcome.code == 2
    assert "own.txt" in outcome.error
    assert len(outcome.error.strip().splitlines()) == 1
    assert not list(run.rglob("*.png"))
