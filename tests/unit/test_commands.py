"""Commands beside the main job, and the names they had."""

from __future__ import annotations

import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import hspace_exp
from hspace_exp.__main__ import main
from hspace_exp.commands import COMMANDS, RENAMED

ROOT = Path(__file__).parents[2]


def shown(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    """Exit code of the command line."""
    monkeypatch.setattr(sys, "argv", ["hspace_exp", *argv])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    try:
        return main()
    except SystemExit as stop:
        return int(stop.code or 0)


def test_every_command_has_a_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        assert shown(monkeypatch, name, "--help") == 0
        assert f"python -m hspace_exp {name}" in capsys.readouterr().out


def test_no_arguments_are_a_question(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(monkeypatch) == 0
    help_text = capsys.readouterr().out
    assert "+experiment=gender_fairness" in help_text
    assert ", ".join(COMMANDS) in help_text


def test_a_command_that_does_not_exist_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(monkeypatch, "tabels", "outputs") == 2
    assert capsys.readouterr().err.startswith("error: unknown command 'tabels'. Did you mean 'tables'?")


@pytest.mark.parametrize("old", RENAMED)
def test_old_names_work_and_tell_the_new_one(
    old: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, new = old.removesuffix(".__main__"), RENAMED[old].removesuffix(".__main__")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module(name, run_name="__main__")
    assert not stop.value.code
    printed = capsys.readouterr()
    assert printed.err == f"python -m {name} is now python -m {new}; the old name goes with version 0.3\n"
    assert printed.out
    assert "usage: " not in printed.out or f"usage: python -m {new}" in printed.out


def test_an_old_name_is_a_command_of_python() -> None:
    command = [sys.executable, "-m", "hspace_exp.tables", "/nowhere"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    first, *rest = done.stderr.splitlines()
    assert first.startswith("python -m hspace_exp.tables is now python -m hspace_exp tables")
    assert rest[-1].startswith("error: ")


@pytest.mark.parametrize("old", ["tables", "report"])
def test_an_old_name_is_found_before_an_empty_folder_that_an_update_left(
    old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / old / "__pycache__").mkdir(parents=True)
    monkeypatch.setattr(hspace_exp, "__path__", [str(tmp_path), *hspace_exp.__path__])
    monkeypatch.setattr(sys, "argv", [old, "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module(f"hspace_exp.{old}", run_name="__main__")
    assert not stop.value.code
    assert f"is now python -m hspace_exp {old};" in capsys.readouterr().err


def test_other_names_are_not_there() -> None:
    assert importlib.util.find_spec("hspace_exp.tabels") is None
    assert importlib.util.find_spec("hspace_exp.evaluate") is not None
