"""What commands do before they import torch, and what a wrong line says."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import MissingConfigException

from avatars_world.evaluate.__main__ import main as evaluate
from avatars_world.train.__main__ import main as train
from hspace_exp.config import command_line
from hspace_exp.config.command_line import EXTRAS, composed, importing, one_line, quoted, uncomposed, unknown_key
from hspace_exp.config.schema import register
from hspace_exp.errors import UserError


def test_unknown_stages_and_measurements_list_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    assert train(["--stage=vea"]) == 2
    assert "Did you mean 'vae'" in capsys.readouterr().err
    assert evaluate(["--what=bais"]) == 2
    assert "Did you mean 'bias'" in capsys.readouterr().err
    assert train(["--size=basic"]) == 2
    assert "Did you mean 'base'" in capsys.readouterr().err
    assert evaluate(["--transformer=somewhere", "--what=potency"]) == 2
    assert "measured of U-Nets alone" in capsys.readouterr().err
    assert train(["stage=vea", "max_seconds=3"]) == 2  # as records and model cards tell it
    assert "Did you mean 'vae'" in capsys.readouterr().err
    assert train(["--batch=many"]) == 2
    assert capsys.readouterr().err.startswith("error: Invalid value for '--batch'")
    assert train(["--help"]) == 0
    assert "--max-seconds" in capsys.readouterr().out


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
    script = "import os, sys, hspace_exp.job; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.split() == [given or "PASSIVE", "False"]


def test_a_missing_launcher_says_what_to_install() -> None:
    error = MissingConfigException(
        "Could not find 'hydra/launcher/ray'\n\nAvailable options in 'hydra/launcher':\n\tbasic\n"
    )
    assert "pip install -e '.[ray]'" in one_line(error)
    error = MissingConfigException(
        "Could not find 'hydra/sweeper/optuna'\n\nAvailable options in 'hydra/sweeper':\n\tbasic\n"
    )
    assert one_line(error).startswith("hydra/sweeper=optuna is not installed")
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
    ],
)
def test_an_unknown_key_is_compared_with_those_of_the_choices(choice: str, key: str, message: str) -> None:
    register()
    assert message in unknown_key(key, "config", ["+experiment=gender_fairness", choice])


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("seeds=3", "seeds=3"),
        ("model.path=", "model.path="),
        ("+x", "+x"),
        ("+model.dtype=float16", "+model.dtype=float16"),
        ("model.path=runs/seed=0", "model.path='runs/seed=0'"),
        ("model.path=it's/seed=0", r"model.path='it\'s/seed=0'"),
        ("model.path=a b,c (1)", "model.path='a b,c (1)'"),
        ("model.path='runs/seed=0'", "model.path='runs/seed=0'"),
        ('model.path="runs/seed=0"', 'model.path="runs/seed=0"'),
        ("method.window=[0,1]", "method.window=[0,1]"),
        ("method.strength={a: 2}", "method.strength={a: 2}"),
        ("model.device=${device}", "model.device=${device}"),
    ],
)
def test_plain_values_are_quoted_where_hydra_has_a_use_for_a_character(argument: str, expected: str) -> None:
    assert quoted(argument) == expected


def test_a_wrong_override_is_compared_with_what_the_others_choose() -> None:
    with pytest.raises(UserError, match=r"unknown key of evaluator 'wieghts'\. Did you mean 'weights'\?"):
        composed(["evaluator=photos", "evaluator.wieghts=x"])
    with pytest.raises(UserError, match="Did you mean 'sdid'"):
        composed(["method=sdidd"], "generate")
    with pytest.raises(UserError, match=r"unknown key 'protocol'\."):
        composed(["protocol=smoke"], "generate")


def test_the_extras_exist() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])


VERBATIM = [
    *(
        "a photo, of a person",
        "it's a person",
        "a person [smiling]",
        "a person (happy)",
        "a person #1",
        "a; b",
        "一张微笑",
    ),
    *(
        "a {person}",
        'a "person"',
        "a $person",
        "null",
        "3",
        "true",
        "a\\person",
        "a\\'",
        "\\",
        "a = b",
        "émile",
        "1e5",
        "'",
        "",
    ),
]


@pytest.mark.parametrize(
    "key", ["attribute.positive", "++attribute.concepts.female.neutral", "paths.cache", "hydra.run.dir"]
)
@pytest.mark.parametrize("text", VERBATIM)
def test_prompts_and_names_of_folders_are_taken_as_they_are(key: str, text: str) -> None:
    if key == "paths.cache" and text == "null":
        return  # as of mask.checkpoint=null: no folder
    read = OverridesParser.create().parse_override(quoted(f"{key}={text}")).value()
    assert str(read) == text or (text == "null" and read is None and key == "hydra.run.dir")


def test_values_that_are_swept_stay_a_list() -> None:
    assert quoted("attribute.positive=a,b", swept=True) == "attribute.positive=a,b"
    assert quoted("attribute.positive=a,b") == "attribute.positive='a,b'"


@pytest.mark.parametrize("value", ["null", "3", "true", "1.5"])
def test_a_group_that_is_no_name_is_compared_with_its_choices(value: str) -> None:
    with pytest.raises(UserError, match=f"unknown method '{value}'.* Choices: .*sdid"):
        composed([f"method={value}"])


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Expected header format\n  KEY VALUE"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        RecursionError(),
    ],
)
def test_whatever_composing_raises_is_one_line(error: Exception) -> None:
    told = str(uncomposed(error, ["seed=1"]))
    assert told.startswith(f"the configuration cannot be composed ({type(error).__name__}")
    assert "\n" not in told


def test_a_reader_that_left_ends_a_command_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []
    monkeypatch.setattr(command_line, "stop_printing", lambda: ended.append(True))
    monkeypatch.setattr(sys, "stdout", Left())
    assert command_line.exit_code(lambda: None) == 0
    assert ended == [True]


class Left(io.StringIO):
    """A pipe that nobody reads any more, which shows when it is flushed."""

    def flush(self) -> None:
        """As a file does."""
        raise BrokenPipeError
