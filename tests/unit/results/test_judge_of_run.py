"""Which evaluator judged a run: files of a run are data, of which names alone are compared."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from hspace_exp.config.command_line import choices, composed
from hspace_exp.errors import UserError
from hspace_exp.results.evaluate import judge_of_run
from hspace_exp.results.record import RunRecord, shareable

Node = dict[str, Any]


def node(*overrides: str, resolve: bool = True) -> Node:
    found: Any = OmegaConf.to_container(composed(overrides).evaluator, resolve=resolve)
    return found


@pytest.fixture(autouse=True, scope="module")
def _composed_once() -> Iterator[None]:
    once = functools.cache(lambda name: composed([name]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hspace_exp.results.evaluate.composed", lambda names: once(*names))
        yield


def record(folder: Path, evaluator: object) -> Path:
    """A folder two below the one with the record."""
    config = shareable({"evaluator": evaluator})
    RunRecord("e", "m", "sd15", "gender", 0, {}, [], config, {}, None, "CPU", {}).write(folder)
    (folder / "images" / "edited").mkdir(parents=True, exist_ok=True)
    return folder / "images" / "edited"


@pytest.mark.parametrize("choice", choices("evaluator"))
def test_each_choice_is_found_in_records(tmp_path: Path, choice: str) -> None:
    own = f"evaluator={choice}", "evaluator.repeats=20", "device=cuda:1"
    assert judge_of_run(record(tmp_path / "run", node(*own)), ()) == choice


def test_the_evaluator_of_a_model_is_that_of_its_runs(tmp_path: Path) -> None:
    assert judge_of_run(record(tmp_path, node("model=sd15")), ()) == "photos"
    assert judge_of_run(record(tmp_path, node("model=avatars")), ()) == "avatars"


def changed(**changes: object) -> Callable[[Node], Node]:
    return lambda found: {**found, **changes}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (changed(_target_="builtins.exec"), "_target_"),
        (changed(_target_="hspace_exp.evaluation.evaluators.AvatarEvaluator"), "_target_"),
        (changed(weights="/home/somebody/weights.pt"), "weights"),
        (changed(model="ViT-L-14"), "model"),
        (changed(margin=0.02), "margin"),
        (changed(features={"_target_": "os.system", "command": "false"}), "features"),
        (changed(evil="${oc.env:HOME}"), "evil"),
    ],
)
def test_nothing_but_names_that_exist_is_taken_from_a_file(
    tmp_path: Path, change: Callable[[Node], Node], named: str
) -> None:
    images = record(tmp_path, change(node("evaluator=photos")))
    with pytest.raises(UserError, match=f"evaluator of its own.* in .*{named}.*Choices: avatars, "):
        judge_of_run(images, ())


def test_settings_of_the_command_line_may_differ(tmp_path: Path) -> None:
    images = record(tmp_path, node("evaluator=photos", "evaluator.model=Mine", "evaluator.weights=mine.pt"))
    assert judge_of_run(images, ["evaluator.model=Mine", "evaluator.weights='mine.pt'"]) == "photos"
    with pytest.raises(UserError, match="in model: say --evaluator and --set"):
        judge_of_run(images, ["evaluator.weights=mine.pt"])


def test_the_next_folder_above_decides(tmp_path: Path) -> None:
    images = record(tmp_path, node("evaluator=photos"))
    assert judge_of_run(images, ()) == "photos"
    assert judge_of_run(record(images, node("evaluator=avatars")), ()) == "avatars"
    (images / "record.json").write_text("{}")  # which is no record
    assert judge_of_run(images, ()) == "photos"


@pytest.mark.parametrize("evaluator", [None, "photos", ["photos"]])
def test_what_is_no_evaluator_is_none(tmp_path: Path, evaluator: object) -> None:
    with pytest.raises(UserError, match="in no folder of a finished run"):
        judge_of_run(record(tmp_path / "run", evaluator), ())


@pytest.mark.parametrize("text", ["", "5", "[", '{"config": {"evaluator": {"metrics": 5}}}'])
def test_a_file_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(UserError, match="in no folder of a finished run"):
        judge_of_run(tmp_path, ())
