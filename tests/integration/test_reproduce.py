"""Runs, tables and figures by one command, on a tiny world."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from hspace_exp.commands import start
from hspace_exp.results.record import read_record
from hspace_exp.results.tables.build import build
from hspace_exp.results.tables.formats import render
from hspace_reproduce.reproduce import overrides_of, planned, sweeps


@pytest.fixture
def command(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two experiments of a few seconds; results, cache and tables lie in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)
    fixed = ("+experiment=", "protocol=", "logger=")
    options = [
        "--protocol",
        "smoke",
        "--experiments",
        "age_fairness,strength_sweep",
        "--methods",
        "original,sdid,focused",
    ]
    return [*options, *(text for text in arguments if not text.startswith(fixed))]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "3"])
def test_tables_come_from_one_command_and_again_from_nothing_new(
    command: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, jobs: str
) -> None:
    assert start(["reproduce", "--jobs", jobs, *command]) == 0, capsys.readouterr()
    printed = capsys.readouterr().out
    assert "6 of 6 runs are done" in printed
    folder = tmp_path / "tables" / "smoke" / "avatars"
    for name in ("age_fairness", "strength_sweep"):
        for ending in ("md", "tex"):
            assert (folder / f"{name}.{ending}").stat().st_size > 1000
    text = (folder / "strength_sweep.md").read_text()
    for factor in ("0.5", "1"):
        assert f"| sdid, factor {factor} " in text
        assert f"| focused, factor {factor} " in text
    figures = {path.name for path in (folder / "figures").iterdir()}
    assert {"age_fairness_bars.pdf", "age_fairness_bars.png", "strength_sweep_front.pdf"} <= figures
    shown = re.findall(r"\]\((.+?)\)", (folder / "README.md").read_text())
    linked = {(folder / link).resolve() for link in shown}
    assert linked == {path for path in folder.rglob("*.*") if path.suffix != ".pdf" and path.name != "README.md"}
    assert {path.with_suffix(".png") for path in folder.rglob("*.pdf")} <= linked
    with Image.open(folder / "figures" / "strength_sweep_strips.png") as strips:
        assert strips.height > 4 * 32

    records = sorted((tmp_path / "outputs").rglob("record.json"))
    trained = [read_record(path).method for path in records if "training" in read_record(path).seconds]
    assert sorted(trained) == ["focused", "sdid"]  # once each: runs beside each other wait for what they share
    assert all((path.parent / ".hydra" / "overrides.yaml").exists() for path in records)
    before = {path: path.read_bytes() for path in [*records, *folder.rglob("*.*")]}
    assert start(["reproduce", *command]) == 0
    assert "6 runs, 6 of them done" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
def test_tables_of_what_is_done(command: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert start(["reproduce", *command, "--methods", "original"]) == 0
    capsys.readouterr()
    assert start(["reproduce", "--tables-only", *command]) == 0
    assert "1 of 6 runs are done" in capsys.readouterr().out
    folder = tmp_path / "tables" / "smoke" / "avatars"
    assert render(build([tmp_path / "outputs" / "age_fairness"])) == (folder / "age_fairness.md").read_text()


@pytest.mark.slow
def test_a_failed_run_stops_no_other_and_the_exit_code_says_so(
    command: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (sweep,) = sweeps("smoke", "avatars", ("age_fairness",))
    overrides = overrides_of(sweep, "smoke", "avatars", ("original",), [text for text in command if "=" in text])
    (run,) = planned(overrides or [])
    (run.folder / "images").mkdir(parents=True)
    (run.folder / "images" / "original").write_text("in the way of a folder")
    assert start(["reproduce", *command, "--experiments", "age_fairness"]) == 1
    printed = capsys.readouterr()
    assert "1 of 2 runs are done" in printed.out
    assert f"failed: see {run.folder / 'run.log'}" in printed.err
