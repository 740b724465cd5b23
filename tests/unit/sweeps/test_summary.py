"""The end of a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from hspace_exp.evaluation.value import MetricValue
from hspace_exp.results.record import RunRecord
from hspace_exp.results.tables.build import build
from hspace_exp.results.tables.formats import render
from hspace_exp.sweeps.jobs import DONE, FAILED, RUNNING, Note, Sweep, sweep_of
from hspace_exp.sweeps.summary import conclude


def note(sweep: Sweep, number: int, name: str, state: str, error: str = "", success: float | None = None) -> Path:
    """Leave a job's note and, where it has a number, its record."""
    experiment, method = name.split("/")
    folder = sweep.results / name
    sweep.write(Note(number, name, experiment, str(folder), state, error))
    if success is not None:
        metrics = {"success": MetricValue(success, None, None, 8, True)}
        RunRecord(
            experiment, method, "m", "gender", 0, metrics, [], {"method": {"name": method}}, {}, None, "CPU", {}
        ).write(folder)
    return folder


def test_each_experiment_has_a_table_of_its_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = sweep_of(tmp_path, [], None)
    folders = [note(sweep, i, f"x/{method}", DONE, success=0.5) for i, method in enumerate(("a", "b"))]
    note(sweep, 2, "y/a", DONE, success=0.25)
    note(sweep, 3, "y/stages", DONE)  # without an evaluation there is no record
    earlier = sweep_of(tmp_path, ["other"], None)
    note(earlier, 0, "x/old", DONE, success=1.0)
    assert conclude(sweep)
    assert (tmp_path / "x" / "summary.md").read_text() == render(build(folders))
    assert "0.250" in (tmp_path / "y" / "summary.md").read_text()
    printed = capsys.readouterr()
    assert (tmp_path / "x" / "summary.md").read_text() in printed.out
    assert printed.err == ""


def test_failed_and_lost_jobs_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = sweep_of(tmp_path, [], None)
    note(sweep, 0, "x/a", FAILED, "no such file")
    note(sweep, 1, "x/b", RUNNING)
    assert not conclude(sweep)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "2 of 2 jobs failed:"
    assert lines[1] == "  x/a: no such file"
    assert lines[2].startswith("  x/b: stopped before its end")
    assert not (tmp_path / "x" / "summary.md").exists()


def test_an_interrupted_sweep_names_only_what_failed_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = sweep_of(tmp_path, [], None)
    note(sweep, 0, "x/a", DONE, success=0.5)
    note(sweep, 1, "x/b", FAILED, "why")
    note(sweep, 2, "x/c", RUNNING)
    assert not conclude(sweep, interrupted=True)
    assert capsys.readouterr().err.splitlines() == ["1 of 3 jobs failed:", "  x/b: why"]
    assert not (tmp_path / "x" / "summary.md").exists()
