"""What commands do before they import torch, typed key=value arguments, and what a wrong line says."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.errors import MissingConfigException

from avatars_world.evaluate.__main__ import main as evaluate
from avatars_world.train.__main__ import main as train
from hspace_exp.config.command_line import EXTRAS, command, importing, one_line, unknown_key
from hspace_exp.config.schema import register
from hspace_exp.errors import UserError


@dataclass
class Arguments:
    """Two arguments of different types."""

    count: int = 1
    name: str = "a"


def test_arguments_are_typed_and_defaults_stay() -> None:
    seen: list[Arguments] = []
    assert command(["count=3"], Arguments, seen.append, "about") == 0
    assert seen == [Arguments(3, "a")]


@pytest.mark.parametrize("wrong", ["count=three", "cuont=3"])
def test_wrong_input_is_one_line_and_exit_code_two(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command([wrong], Arguments, lambda a: None, "about") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert wrong.split("=")[0] in error or "three" in error


def test_errors_of_the_command_itself_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: Arguments) -> None:
        raise UserError("expected a cat, got a dog")

    assert command([], Arguments, fail, "about") == 2
    assert capsys.readouterr().err == "error: expected a cat, got a dog\n"


def test_unknown_stages_and_measurements_list_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    assert train(["stage=vea"]) == 2
    assert "Did you mean 'vae'" in capsys.readouterr().err
    assert evaluate(["what=bais"]) == 2
    assert "Did you mean 'bias'" in capsys.readouterr().err
    assert train(["--help"]) == 0
    assert "max_seconds" in capsys.readouterr().out


def test_nothing_is_collected_while_modules_are_imported() -> None:
    assert gc.isenabled()
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), importing():
        raise ImportError("no such module")
    assert gc.isenabled()
    gc.disable()
    try:
        with importing():
            pass
        assert not gc.isenabled()  # as it was
    finally:
        gc.enable()


@pytest.mark.parametrize("given", [None, "ACTIVE"])
def test_threads_wait_without_spinning_unless_the_user_wants_it(given: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if given:
        environment["OMP_WAIT_POLICY"] = given
    script = "import os, sys, hspace_exp.__main__; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.split() == [given or "PASSIVE", "False"]


def test_a_missing_launcher_says_what_to_install() -> None:
    error = MissingConfigException(
        "Could not find 'hydra/launcher/ray'\n\nAvailable options in 'hydra/launcher':\n\tbasic\n"
    )
    assert "pip install -e '.[ray]'" in one_line(error)
    unknown = MissingConfigException(
        "Could not find 'hydra/launcher/rey'\n\nAvailable options in 'hydra/launcher':\n\tbasic\n"
    )
    assert one_line(unknown) == "unknown hydra/launcher 'rey'. Choices: basic"


@pytest.mark.parametrize(
    ("choice", "key", "message"),
    [
        ("evaluator=photos", "evaluator.wieghts", "unknown key of evaluator 'wieghts'. Did you mean 'weights'?"),
        ("evaluator=photos,avatars", "evaluator.wieghts", "Did you mean 'weights'?"),
        ("evaluator=none_such", "protocol.trainng_images", "Did you mean 'training_images'?"),
        ("seed=0", "sead", "unknown key 'sead'. Did you mean 'seed'?"),
        ("seed=0", "+method.calibration.male", "method.calibration is gone: method.strength takes a number a concept"),
    ],
)
def test_an_unknown_key_is_compared_with_those_of_the_choices(
    monkeypatch: pytest.MonkeyPatch, choice: str, key: str, message: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["hspace_exp", "+experiment=gender_fairness", choice])
    register()
    assert message in unknown_key(key)


def test_the_extras_exist() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])
