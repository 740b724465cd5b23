"""Words that typer reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import pytest
from typer import Argument, Option

from hspace_exp.config.cli import Cli, split_paths

Seen = list[dict[str, object]]


@pytest.fixture
def seen() -> Seen:
    """What the command got."""
    return []


@pytest.fixture
def app(seen: Seen) -> Cli:
    """One command with all kinds of parameters."""
    app = Cli()

    def work(count: int, **given: object) -> int:
        seen.append(given)
        return count

    @app.starts(work)
    def signature(
        first: Annotated[str, Argument()],
        second: Annotated[str, Argument()] = "",
        files: Annotated[list[str] | None, Option()] = None,
        count: int = 1,
        margin: float | None = None,
        keep: bool = True,
        more: Annotated[list[str] | None, Option("--set")] = None,
    ) -> None:
        """Work."""

    return app


def test_what_a_command_returns_is_its_exit_code(app: Cli, seen: Seen) -> None:
    assert app.run(["a", "--count", "3", "--files", "x", "--files", "y", "--no-keep"], "program") == 3
    (got,) = seen
    assert (got["first"], got["files"], got["keep"], got["margin"]) == ("a", ["x", "y"], False, None)


@pytest.mark.parametrize(
    "words", [[], ["a", "--count", "many"], ["a", "--cuont", "1"], ["a", "b", "c"], ["a", "--set"]]
)
def test_wrong_words_are_one_line(app: Cli, seen: Seen, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert app.run(words, "program") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not seen


def test_bytes_of_another_encoding_are_names_of_files_alone(
    app: Cli, seen: Seen, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path / "x") + b"\xff")
    assert app.run(["a", "--files", odd], "program") == 2
    assert capsys.readouterr().err.endswith(" is no text in this system's encoding\n")
    Path(odd).touch()
    assert app.run(["a", "--files", odd, f"--files={odd}"], "program") == 1
    assert seen[0]["files"] == [odd, odd]


def test_an_empty_word_is_no_path(capsys: pytest.CaptureFixture[str]) -> None:
    """Least of all the working folder."""
    app, got = Cli(), list[dict[str, object]]()

    @app.starts(lambda **given: got.append(given))
    def signature(
        one: Annotated[Path, Argument()],
        several: Annotated[list[Path] | None, Option()] = None,
        out: Annotated[Path | None, Option()] = None,
        name: Annotated[str, Option()] = "x",
    ) -> None:
        """Work."""

    for words in ([""], ["a", "--several", "b", "--several", ""], ["a", "--out", ""], ["a", "--out="]):
        assert app.run(words, "program") == 2
        assert capsys.readouterr().err.endswith(": expected a path, got an empty word\n")
    assert app.run(["a", "--several", ".", "--out", "b", "--name", ""], "program") == 0
    assert got == [{"one": Path("a"), "several": [Path()], "out": Path("b"), "name": ""}]


def test_commas_within_names_that_exist_do_not_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("seed=0,a=1,b=2", "x"):
        (tmp_path / name).mkdir()
    assert split_paths("x,seed=0,a=1,b=2,none,x") == ["x", "seed=0,a=1,b=2", "none", "x"]
    assert split_paths("a b") == ["a b"]
