"""Which runs tables are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from hspace_exp.config.command_line import CONF
from hspace_exp.errors import UserError
from hspace_exp.reproduce.__main__ import main
from hspace_exp.reproduce.lists import LISTS, PHOTOS_ONLY, WORLD_ONLY, Sweep, sweeps
from hspace_exp.reproduce.runs import Planned, planned
from hspace_exp.reproduce.shared import tasks_of
from hspace_exp.results.record import RunRecord


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def runs(sweep: Sweep, *more: str, methods: tuple[str, ...] = ()) -> list[Planned]:
    return planned(sweep, "smoke", "avatars", methods, more)


def finish(run: Planned) -> Path:
    """Leave a record of the run."""
    record = RunRecord("x", "sdid", "avatars", "gender", 0, {}, [], run.config, {}, None, "CPU", {})
    return record.write(run.folder)


@pytest.mark.parametrize("protocol", LISTS)
def test_lists_name_experiments_and_protocols_that_exist(protocol: str) -> None:
    assert (CONF / "protocol" / f"{protocol}.yaml").exists()
    for sweep in LISTS[protocol]:
        assert (CONF / "experiment" / f"{sweep.experiment}.yaml").exists()
        assert not sweep.protocol or (CONF / "protocol" / f"{sweep.protocol}.yaml").exists()


def test_models_run_what_they_can_show() -> None:
    world, photos = ({s.experiment for s in sweeps("demo", model)} for model in ("avatars", "sd15"))
    assert world - photos == set(WORLD_ONLY)
    assert photos - world == set(PHOTOS_ONLY)
    assert [s.experiment for s in sweeps("demo", "avatars", ("sensitivity",))] == ["sensitivity"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fulll", "avatars"), "Did you mean 'full'"),
        (("full", "avatars", ("sensitivty",)), "Did you mean 'sensitivity'"),
        (("full", "avatars", ("race_fairness",)), "nothing to measure on model=avatars"),
    ],
)
def test_unknown_lists_are_refused(arguments: tuple[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        sweeps(*arguments)


def test_a_sweep_is_the_product_of_its_values_with_the_unedited_model_once() -> None:
    sweep = Sweep("gender_fairness", {"method": "original,sdid"}, seeds=(0, 1))
    found = runs(sweep, "protocol.image_seed=1")
    assert [r.folder.as_posix() for r in found] == [
        "outputs/gender_fairness/avatars/gender/original/seed=0,protocol.image_seed=1,protocol=smoke",
        "outputs/gender_fairness/avatars/gender/sdid/seed=0,protocol.image_seed=1,protocol=smoke",
        "outputs/gender_fairness/avatars/gender/sdid/seed=1,protocol.image_seed=1,protocol=smoke",
    ]
    assert [r.config["method"]["name"] for r in found] == ["original", "sdid", "sdid"]
    assert [r.config["seed"] for r in found] == [0, 0, 1]
    assert all(r.config["protocol"]["image_seed"] == 1 for r in found)
    assert found[1].name == "gender_fairness gender sdid seed=0,protocol.image_seed=1,protocol=smoke"


def test_an_experiments_own_values_are_swept_unless_others_are_named() -> None:
    own = runs(Sweep("sensitivity"))
    assert len(own) == 7
    assert {r.config["method"]["training"]["objective"]["threshold"] for r in own} == {0.3, 0.5, 0.7}
    (one,) = runs(Sweep("sensitivity", {"+vary": "lambda_low"}))
    assert one.config["frequency"]["weight"] == 0.2
    (only,) = runs(Sweep("scene_consistency"), methods=("sdid",))
    assert only.config["method"]["name"] == "sdid"


def test_a_record_of_the_same_configuration_means_done() -> None:
    run, other = runs(Sweep("gender_fairness", {"method": "sdid", "method.strength": "1.0,2.0"}))
    assert not run.done
    path = finish(run)
    assert run.done
    path.rename(other.folder.parent / "record.json")
    other.folder.mkdir()
    (other.folder.parent / "record.json").rename(other.folder / "record.json")
    assert not other.done  # the record of another strength
    (other.folder / "record.json").write_text("{")
    assert not other.done


def test_side_by_side_what_runs_share_comes_first(tmp_path: Path) -> None:
    found = [
        *runs(Sweep("gender_fairness", {"method": "original,sdid,lwim"})),
        *runs(Sweep("strength_sweep", {"method": "sdid", "method.strength": "1.0,2.0"})),
    ]
    alone = tasks_of(found, tmp_path, side_by_side=False)
    assert [task.name for task in alone] == [run.name for run in found]
    assert not any(task.needs for task in alone)
    tasks = tasks_of(found, tmp_path, side_by_side=True)
    shared = {task.makes: task for task in tasks if task.makes}
    assert [name.split()[0] for name in shared] == ["images", "learnt", "learnt", "vectors"]
    images, learnt, masks, vectors = shared.values()
    assert masks.needs == {learnt.makes}  # of the same images, with maps beside them
    assert images.arguments[2] == ["generation"]
    assert "method=original" in images.arguments[0]
    assert not any("sdid" in text or "strength" in text for text in images.arguments[0])
    assert vectors.needs == {images.makes, learnt.makes}
    needs = {task.name: task.needs for task in tasks if not task.makes}
    original, sdid, lwim, *strengths = (needs[run.name] for run in found)
    assert original == {images.makes}
    assert sdid == {images.makes, learnt.makes, vectors.makes}
    assert lwim == {images.makes, masks.makes}
    assert strengths == [sdid, sdid]


def test_the_command_lists_what_is_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--protocol", "smoke", "--experiments", "age_fairness"]
    for run in runs(Sweep("age_fairness", {"method": "original"})):
        finish(run)
    assert main([*arguments, "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 runs, 1 of them done"
    assert [line.split(":")[0] for line in lines[1:]] == ["done", "to do"]
    assert "+experiment=age_fairness" in lines[2]
    assert "method=focused" in lines[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--protocol", "smok"], "Did you mean 'smoke'"),
        (["--jobs", "0"], "--jobs"),
        (["--protocol", "smoke", "--experiments", "age_fairness", "--methods", "pca"], "no run is left"),
        (["--protocol", "smoke", "--experiments", "age_fairness", "methd=sdid"], "methd"),
    ],
)
def test_wrong_input_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert len(error.splitlines()) == 1


def test_what_is_learnt_from_other_subjects_is_made_apart(tmp_path: Path) -> None:
    found = runs(Sweep("component_ablation", {"method": "focused,focused_no_gate,focused_no_subjects"}))
    shared = {task.makes: task for task in tasks_of(found, tmp_path, side_by_side=True) if task.makes}
    assert [name.split()[0] for name in shared] == ["images", "learnt", "learnt", "vectors"]
    _, several, alone, vectors = shared.values()
    assert vectors.needs >= {several.makes}
    assert not vectors.needs & {alone.makes}
