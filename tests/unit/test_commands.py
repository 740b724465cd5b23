"""Commands beside the main job, and the names they had."""

from __future__ import annotations

import errno
import inspect
import io
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from safetensors.torch import save_file

import hspace_exp
from hspace_exp.__main__ import main
from hspace_exp.avatars import CONCEPTS
from hspace_exp.commands import app, start
from hspace_exp.concepts.concept import load_concept
from hspace_exp.errors import UserError

ROOT = Path(__file__).parents[2]
COMMANDS = [*typer.main.get_command(app).commands]


def shown(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    """Exit code of the command line."""
    monkeypatch.setattr(sys, "argv", ["hspace_exp", *argv])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    try:
        return main()
    except SystemExit as stop:
        return int(stop.code or 0)


def test_every_command_has_a_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert {
        "run",
        "generate",
        "steer",
        "evaluate",
        "compare",
        "tables",
        "report",
        "concepts",
        "doctor",
        "reproduce",
    } <= {*COMMANDS}
    for name in COMMANDS:
        assert shown(monkeypatch, name, "--help") == 0
        assert f"{'python -m hspace_exp' if name == 'run' else 'hspace-exp'} {name if name != 'run' else ''}" in (
            capsys.readouterr().out
        )


def test_no_arguments_are_a_question(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(monkeypatch) == 0
    help_text = capsys.readouterr().out
    assert "experiment=gender_fairness" in help_text
    assert all(f"\n  {name} " in help_text for name in COMMANDS)


def test_a_command_that_does_not_exist_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(monkeypatch, "tabels", "outputs") == 2
    assert capsys.readouterr().err.startswith("error: No such command 'tabels'. Did you mean 'tables'?")


def parameters(group: Any) -> Iterator[tuple[Any, set[str]]]:
    """Signature of each command, and the names that it reads."""
    for info in group.registered_commands:
        yield info.callback, {*inspect.signature(info.callback).parameters}
    for inner in group.registered_groups:
        yield from parameters(inner.typer_instance)


def test_what_a_command_starts_takes_what_it_reads() -> None:
    found = list(parameters(app))
    assert len(found) > 11
    for callback, names in found:
        (target,) = (cell.cell_contents for cell in callback.__closure__ if isinstance(cell.cell_contents, str))
        inspect.signature(pkgutil.resolve_name(target)).bind(**dict.fromkeys(names))


def test_the_version_is_ours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"hspace-exp {hspace_exp.__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["doctor", "--help"], ["compare"], ["generate", "a"]])
def test_what_needs_no_work_imports_neither_torch_nor_hydra(words: list[str]) -> None:
    code = (
        "import sys; from hspace_exp.__main__ import main; main(); sys.exit(bool({'torch', 'hydra'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout or done.stderr.startswith("error: Missing ")


@pytest.mark.parametrize(("last", "code", "said"), [("3", 3, ""), ("1 / 0", 1, "ZeroDivisionError")])
def test_a_process_ends_at_once_when_all_that_is_due_at_its_end_is_done(last: str, code: int, said: str) -> None:
    """Threads are joined and functions called; objects are not taken apart, unless an exception ends it."""
    lines = f"""
import atexit, sys, threading, time
from hspace_exp import __main__ as ours

class Kept:
    def __del__(self): print("taken apart", flush=True)

def late(): time.sleep(0.2); print("thread")

def main():
    atexit.register(print, "at exit"); threading.Thread(target=late).start(); print("main"); return {last}

ours.main, ours.kept = main, Kept()
sys.exit(ours.program())
"""
    done = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stdout.split("\n")[:3] == ["main", "thread", "at exit"]
    assert ("taken apart" in done.stdout, said in done.stderr) == (bool(said), True)


def test_concepts_are_shown_without_torch_and_as_with_it(tmp_path: Path) -> None:
    """Numbers of a type that NumPy lacks are read, too."""
    one = load_concept(next(CONCEPTS.glob("*.safetensors")))
    save_file({"vector": one.vector.bfloat16()}, tmp_path / "half.safetensors", one.metadata())
    code = "import sys; from hspace_exp.__main__ import main; main(); print('torch' in sys.modules)"
    for folder, loaded in ((CONCEPTS, "False"), (tmp_path, "True")):
        words = [sys.executable, "-c", code, "concepts", "show", str(folder)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        cards = [load_concept(file).card() for file in sorted(folder.glob("*.safetensors"))]
        assert done.stdout == "\n".join(cards) + f"{loaded}\n"


def test_experiments_need_no_plus_sign(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for words in (["run", "experiment=age_fairness"], ["+experiment=age_fairness"]):
        assert shown(monkeypatch, *words, "--cfg", "job") == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1]
    assert "name: age_fairness" in found[0]


@pytest.mark.parametrize(
    "words", [["--nosuch"], ["protocol=smoke", "-x"], ["--config-dir"], ["-m", "a=1", "--package"]]
)
def test_wrong_flags_of_the_main_job_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert shown(monkeypatch, "run", *words) == 2
    error = capsys.readouterr().err
    assert error.endswith("; flags are of Hydra, see --help\n")
    assert error.count("\n") == 1


def test_a_disk_that_is_full_when_hydra_writes_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A sweep's flag may stand behind its words."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hydra.core.utils._save_config", full)
    monkeypatch.setattr("omegaconf.OmegaConf.save", full)
    places = [f"hydra.run.dir={tmp_path / 'run'}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    for more, folder in (([], "run"), (["-m", "seed=0,1"], "sweep")):
        assert shown(monkeypatch, "run", *places, f"paths.cache={tmp_path / 'cache'}", *more) == 2
        assert f"error: cannot use {tmp_path / folder}: No space left" in capsys.readouterr().err


def test_an_interruption_has_its_own_exit_code_and_a_closed_pipe_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(error: BaseException) -> Callable[..., None]:
        def work(*_: object) -> None:
            raise error

        return work

    for error, code in ((KeyboardInterrupt(), 130), (OSError(errno.ENOSPC, "no space"), 2), (UserError("no"), 2)):
        monkeypatch.setattr("hspace_exp.results.tables.formats.build", fail(error))
        assert start(["tables", "x"]) == code


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_that_lacks_characters_loses_no_command(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    assert shown(monkeypatch, "--version") == 0
    print("Background PSNR ↑ é漢", flush=True)
    assert b"\\u2191" in written.getvalue()


def test_an_interruption_while_modules_load_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("hspace_exp.commands.start", interrupted)
    assert shown(monkeypatch, "tables") == 130


def test_names_that_are_too_long_for_a_file_are_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["compare", "x" * 300, "y"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
