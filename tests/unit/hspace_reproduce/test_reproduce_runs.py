"""Which runs tables are made of."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hspace_exp.commands import start
from hspace_exp.config.command_line import CONF, composed
from hspace_exp.errors import UserError
from hspace_exp.results.record import RunRecord
from hspace_reproduce import reproduce as reproduced
from hspace_reproduce.reproduce import LISTS, PHOTOS_ONLY, WORLD_ONLY, Planned, Sweep, overrides_of, planned, sweeps


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module", autouse=True)
def _composed_once() -> Iterator[None]:
    """Compose each run once for all tests of this module, which ask for the same ones again and again."""
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(lambda overrides: composed(overrides, return_hydra_config=True))
        patch.setattr(reproduced, "composed", lambda overrides, **_: once(tuple(overrides)))
        yield


def runs(sweep: Sweep, *more: str, methods: tuple[str, ...] = ()) -> list[Planned]:
    overrides = overrides_of(sweep, "smoke", "avatars", methods, more)
    return planned(overrides) if overrides else []


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


def size(sweep: Sweep) -> int:
    values = (
        re.sub(r"\[.*?\]", "list", text.partition("=")[2]).split(",")
        for text in overrides_of(sweep, "smoke", "avatars") or []
    )
    return math.prod(map(len, values))


def test_the_page_tells_how_many_runs_each_experiment_has() -> None:
    page = (CONF.parent / "docs" / "reproduce.md").read_text()
    rows = [line[2:].split(" | ") for line in page.splitlines() if line.startswith("| `")]
    told = {cells[0].split("`")[1]: cells[1:4] for cells in rows if len(cells) == 5}
    counted = {
        protocol: {name: sum(size(s) for s in some if s.experiment == name) for name in {s.experiment for s in some}}
        for protocol, some in LISTS.items()
    }
    names = {path.stem for path in (CONF / "experiment").glob("*.yaml")} - {"i2p"}  # whose prompts are the user's
    assert set(told) == names == set(counted["full"])
    for name, (smoke, demo, full) in told.items():
        assert counted["smoke"][name] == int(smoke)
        assert counted["demo"][name] == int(demo)
        assert counted["full"][name] == int(full.split(",")[0])
        assert counted["paper"].get(name, counted["demo"][name]) == counted["demo"][name]


def test_methods_are_compared_over_three_seeds_and_uses_on_fewer_images() -> None:
    def methods(seeds: str) -> set[str]:
        some = [
            sweep for sweep in sweeps("full", "avatars", ("gender_fairness",)) if sweep.values.get("seed", "0") == seeds
        ]
        return {name for sweep in some for name in sweep.values["method"].split(",")}

    assert methods("0") == {"original", "prompt"}
    learnt = {"sdid", "sdid_lowfreq", "score_matching", "respodiff", "pca", "h_guidance", "lwim", "focused"}
    assert methods("0,1,2") == {*learnt, "focused_no_subjects", "sdid_published"}
    for name in ("strength_sweep", "guidance", "professions", "samplers"):
        found = sweeps("full", "avatars", (name,))
        assert len(found) == 1 + (name == "strength_sweep")
        for sweep in found:
            assert not sweep.protocol
            overrides = overrides_of(sweep, "full", "avatars") or []
            assert "protocol=full" in overrides
            assert "protocol.images_per_profession=20" in overrides


def test_models_run_what_they_can_show() -> None:
    world, photos = ({s.experiment for s in sweeps("demo", model)} for model in ("avatars", "sd15"))
    assert world - photos == set(WORLD_ONLY) - {"replication"}  # whose models are not trained here
    assert photos - world == set(PHOTOS_ONLY)
    assert {s.experiment for s in sweeps("demo", "avatars", ("sensitivity",))} == {"sensitivity"}


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


@pytest.mark.parametrize("protocol", ["smoke", "demo", "full"])
def test_what_needs_a_trained_model_runs_where_it_is(protocol: str, tmp_path: Path) -> None:
    assert "replication" not in {sweep.experiment for sweep in sweeps(protocol, "avatars")}
    with pytest.raises(
        UserError, match=r"replication needs \./outputs/.*: train it first, see experiments/replication/"
    ):
        sweeps(protocol, "avatars", ("replication",))
    for name in ("seed1", "h4"):
        (tmp_path / "outputs" / "replication" / name / "weights").mkdir(parents=True)
    found = [
        run for sweep in sweeps(protocol, "avatars", ("replication",)) for run in runs(sweep, methods=("focused",))
    ]
    models = [run.config["model"] for run in found]
    assert {model["name"]: model["source"] for model in models} == {
        f"avatars_{name}": f"./outputs/replication/{name}/weights" for name in ("seed1", "h4")[-len(found) :]
    }


def test_a_sweep_is_the_product_of_its_values() -> None:
    found = runs(Sweep("gender_fairness", {"method": "sdid,original", "seed": "0,1"}), "protocol.image_seed=1")
    assert [r.folder.as_posix() for r in found] == [
        f"outputs/gender_fairness/avatars/gender/{method}/seed={seed},protocol.image_seed=1,protocol=smoke"
        for method in ("sdid", "original")
        for seed in (0, 1)
    ]
    assert [r.config["method"]["name"] for r in found] == ["sdid", "sdid", "original", "original"]
    assert [r.config["seed"] for r in found] == [0, 1, 0, 1]
    assert all(r.config["protocol"]["image_seed"] == 1 for r in found)


def test_an_experiments_own_values_are_swept_unless_others_are_named() -> None:
    own = runs(Sweep("sensitivity"))
    assert [r.config["method"]["training"]["objective"]["threshold"] for r in own] == [0.3, 0.5, 0.7]
    (only,) = runs(Sweep("scene_consistency"), methods=("sdid", "pca"))
    assert only.config["method"]["name"] == "sdid"
    assert runs(Sweep("scene_consistency"), methods=("pca",)) == []


def test_sensitivity_changes_one_published_value_at_a_time() -> None:
    def values(run: Planned) -> tuple[float, float, float]:
        objective = run.config["method"]["training"]["objective"]
        return objective["threshold"], objective["beta"], run.config["frequency"]["weight"]

    found = [values(run) for sweep in sweeps("demo", "avatars", ("sensitivity",)) for run in runs(sweep)]
    published = (0.5, 0.4, 0.35)
    assert published in found
    assert len(set(found)) == len(found) == 7
    assert all(sum(a != b for a, b in zip(some, published, strict=True)) <= 1 for some in found)


def test_frequency_cutoffs_differ_from_haar_and_fft_in_one_thing() -> None:
    def described(run: Planned) -> tuple[float, str, int | None, float | None]:
        node = run.config["frequency"]
        transform = node["transform"] or {}
        return node["weight"], node["source"], transform.get("levels"), transform.get("cutoff")

    found = {described(run) for sweep in sweeps("demo", "avatars", ("frequency_cutoff",)) for run in runs(sweep)}
    assert found == {
        (0.0, "current", None, None),
        *((0.35, "original", levels, None) for levels in (1, 2, 3)),
        *((0.35, "original", None, cutoff) for cutoff in (0.25, 0.5, 0.75)),
        *((weight, "original", 1, None) for weight in (0.2, 0.5)),
        (0.35, "current", 1, None),
    }


@pytest.mark.parametrize("protocol", LISTS)
def test_no_two_sweeps_make_the_same_run(protocol: str) -> None:
    found = [replace(sweep, protocol="") for sweep in sweeps(protocol, "avatars", ("frequency_cutoff",))]
    folders = [run.folder for sweep in found for run in runs(sweep)]
    assert len(set(folders)) == len(folders) > 0


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


def test_the_command_lists_what_is_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--protocol", "smoke", "--experiments", "age_fairness"]
    for run in runs(Sweep("age_fairness", {"method": "original"})):
        finish(run)
    assert start(["reproduce", *arguments, "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 runs, 1 of them done"
    (sweep,) = lines[1:]
    assert sweep.startswith("1 of 2 done: hspace-exp run -m +experiment=age_fairness ")
    assert "method=original,focused" in sweep


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
    assert start(["reproduce", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert len(error.splitlines()) == 1
