"""What commands do before they import torch, and what a wrong line says."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hydra.errors import MissingConfigException

from avatars_world.evaluate.__main__ import main as evaluate
from avatars_world.train.__main__ import main as train
from hspace_exp.config.command_line import EXTRAS, composed, importing, one_line, quoted, unknown_key
from hspace_exp.config.schema import register
from hspace_exp.errors import UserError


def test_unknown_stages_and_measurements_list_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    assert train(["--stage=vea"]) == 2
    assert "Did you mean 'vae'" in capsys.readouterr().err
    assert evaluate(["what=bais"]) == 2  # as until version 0.1
    old, error = capsys.readouterr().err.splitlines()
    assert old == "key=value words go with version 0.3; now: python -m avatars_world.evaluate --what bais"
    assert "Did you mean 'bias'" in error
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
        ("seed=0", "+method.calibration.male", "method.calibration is gone: method.strength takes a number a concept"),
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
