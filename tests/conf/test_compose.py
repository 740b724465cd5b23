"""Every file of conf/ composes, binds to its target's signature, and keeps its promises."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from avatars_world.scenes import TEXTURED_SCENES
from hspace_exp.avatars.world import PROFESSIONS, SCENES
from hspace_exp.config.checks import check
from hspace_exp.config.command_line import CONF
from hspace_exp.config.schema import register
from hspace_exp.errors import UserError
from hspace_exp.prompts.attributes import with_own_concept
from hspace_exp.prompts.plan import plan

FILES = sorted(CONF.rglob("*.yaml"))
ADDED = ("experiment", "metric")  # groups that have no default: +group=choice
CHOICES = [(f.parent.name, f.stem) for f in FILES if f.parent.parent == CONF and f.parent.name not in ADDED]
ALONE = ("method", "model")  # groups whose files choose of other groups, too: with nothing else beside them
METRICS = [f.stem for f in (CONF / "metric").glob("*.yaml")]
EXPERIMENTS = [f.stem for f in (CONF / "experiment").glob("*.yaml")]


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


@functools.cache
def composed(*overrides: str) -> DictConfig:
    return compose("config", list(overrides))


def plain(*overrides: str) -> dict[str, Any]:
    config = OmegaConf.to_container(composed(*overrides), resolve=True, throw_on_missing=True)
    assert isinstance(config, dict)
    return {str(k): v for k, v in config.items()}


def together(group: str, name: str) -> list[str]:
    """Overrides of a composition with this choice; the first of all groups go together, the second, and so on."""
    if group in ALONE:
        return [f"{group}={name}"]
    choices: dict[str, list[str]] = {}
    for other, one in CHOICES:
        choices.setdefault(other, []).append(one)
    row = choices[group].index(name)
    found = [f"{other}={names[row % len(names)]}" for other, names in choices.items() if other not in ALONE]
    # smoke names professions, of which not every list has all
    return [*found, "protocol.professions=${prompts.professions}"] if "protocol=smoke" in found else found


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_every_choice_composes_and_binds(group: str, name: str) -> None:
    config = plain(*together(group, name))
    if config["attribute"]["name"] == "custom":
        config["attribute"] |= {"positive": "a photo of a smiling person", "neutral": "a photo of a person"}
    config["attribute"] = with_own_concept(config["attribute"])
    check(config)
    if "name" in config[group]:
        assert config[group]["name"] == name  # run folders and records say what was chosen


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_can_be_added_and_is_named_as_its_file(name: str) -> None:
    config = plain(f"+metric@evaluator.metrics=[{','.join(METRICS)}]")
    check(config)
    assert name == "standard" or name in config["evaluator"]["metrics"]


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize(
    "method", ["sdid", *(pytest.param(name, marks=pytest.mark.slow) for name in ("original", "lwim"))]
)
def test_every_experiment_composes_with_other_methods(name: str, method: str) -> None:
    config = plain(f"+experiment={name}", f"method={method}")
    check(config)
    assert (config["name"], config["method"]["name"]) == (name, method)


def swept(name: str) -> list[list[str]]:
    """Of an experiment: for each key that it sweeps, the override of each value."""
    params = compose("config", [f"+experiment={name}"], return_hydra_config=True).hydra.sweeper.params or {}
    return [[f"{key}={value.strip()}" for value in str(values).split(",")] for key, values in params.items()]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_value_that_an_experiment_sweeps_composes(name: str) -> None:
    columns = swept(name)
    longest = max(map(len, columns), default=0)
    for row in range(longest):  # every value, each key going through its own again until the longest ends
        check(plain(f"+experiment={name}", *(values[row % len(values)] for values in columns)))


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_run_that_an_experiment_sweeps_composes(name: str) -> None:
    for overrides in itertools.product(*swept(name)):
        check(plain(f"+experiment={name}", *overrides))


def test_scenes_are_of_the_world_and_meet_every_target() -> None:
    config = plain("+experiment=scene_consistency")
    templates = config["prompts"]["templates"]
    assert len(templates) % 2 == 1  # targets alternate along the seeds: an even number would tie a scene to a target
    named = [next(scene for scene in SCENES if template.endswith(f"the {scene}")) for template in templates]
    assert set(TEXTURED_SCENES) <= set(named)
    items = plan(["nurse"], templates, 2 * len(templates), ["female", "male"])
    assert {(i.prompt, i.target) for i in items} == {
        (t.format(a="a", profession="nurse"), g) for t in templates for g in ("female", "male")
    }


def test_defaults_of_the_headline_experiment() -> None:
    config = plain("+experiment=gender_fairness")
    assert config["model"]["name"] == "avatars"
    assert (config["attribute"]["name"], config["method"]["name"]) == ("gender", "focused")
    assert len(config["protocol"]["professions"]) == 12
    assert (config["protocol"]["images_per_profession"], config["protocol"]["training_images"]) == (16, 64)


def test_professions_are_those_of_the_world() -> None:
    assert tuple(plain()["prompts"]["professions"]) == PROFESSIONS


def test_professions_learnt_from_tuned_on_and_reported_are_three_groups_of_the_36() -> None:
    config = plain("method=focused")
    groups, known = config["prompts"]["groups"], config["prompts"]["professions"]
    assert list(groups) == ["learnt", "validation", "unseen"]
    together = [name for group in groups.values() for name in group]
    assert len(together) == len(set(together)) == len(known) == 36
    assert set(together) == set(known)
    assert {len(group) for group in groups.values()} == {12}
    subjects = config["method"]["training"]["on_policy"]["subjects"]
    assert set(subjects) - {"person"} == {name.lower() for name in groups["learnt"]}
    assert config["calibration"]["professions"] == groups["validation"]
    for protocol in ("demo", "full"):
        assert plain(f"protocol={protocol}")["protocol"]["professions"] == groups["unseen"]
    chosen = plain("prompts.measured=learnt")
    assert chosen["protocol"]["professions"] == groups["learnt"]


def test_published_hyperparameters() -> None:
    lwim, sdid = plain("method=lwim"), plain("method=sdid")
    assert lwim["frequency"]["weight"] == 0.35
    assert lwim["method"]["training"]["objective"]["beta"] == 0.4
    assert sdid["frequency"]["weight"] == 0.0
    assert sdid["method"]["branch"] == "conditional"
    assert sdid["method"]["training"]["optimizer"]["lr"] == 0.1
    assert sdid["method"]["training"]["batch_size"] == 8
    assert sdid["method"]["training"]["timesteps"] == [0, 1000]


@pytest.mark.parametrize(
    ("overrides", "mask", "frequency"),
    [
        (["method=sdid"], "none.NoMasks", 0.0),
        (["method=sdid", "frequency=haar", "mask=attention"], "attention.AttentionMasks", 0.35),
        (["model=sd15", "method=lwim"], "sam.SamMasks", 0.35),
        (["model=sd15"], "none.NoMasks", 0.0),
        (["model=sd15", "method=original"], "none.NoMasks", 0.0),
    ],
)
def test_methods_choose_their_mask_and_frequency_unless_told(overrides: list[str], mask: str, frequency: float) -> None:
    config = plain(*overrides)
    assert config["mask"]["_target_"].endswith(mask)
    assert config["frequency"]["weight"] == frequency


def test_models_of_photographs_have_their_own_judges() -> None:
    assert plain("model=sdxl")["evaluator"]["_target_"].endswith("PhotoEvaluator")
    assert plain("model=sd15", "method=lwim")["mask"]["model_type"] == "vit_b"


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.name}/{f.stem}")
def test_files_are_short(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 45


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["protocol.training_images=-1"], ["protocol.training_images", "-1"]),
        (["protocol.images_per_profession=0"], ["protocol.images_per_profession", "0"]),
        (["seed=-3"], ["seed=-3", "greater than or equal to 0"]),
        (["prompts.templates=[]"], ["prompts.templates=[]: expected at least 1"]),
        (["protocol.professions=[]"], ["protocol.professions=[]: expected at least 1"]),
        (["protocol.professions=[nurs]"], ["'nurs'", "Did you mean 'nurse'", "sheriff"]),
        (["protocol.professions=[nurse,nurse]"], ["twice"]),
        (["prompts.templates=['a {profesion}']"], ["{profession}", "profesion"]),
        (["stages=[train]"], ['stages=["train"]', "'training'"]),
        (["+method.strenth=2"], ["key of method", "Did you mean 'strength'"]),
        (
            ["method=lwim", "+method.training.objective.betta=2"],
            ["key of method.training.objective", "Did you mean 'beta'"],
        ),
        (["+extra=1"], ["'extra'", "protocol"]),
        (["chunk_size=0"], ["chunk_size"]),
        (["method.strength=abc"], ["method.strength=abc: expected a valid number"]),
        (["method.training.batch_size=2.5"], ["method.training.batch_size=2.5: expected a valid integer"]),
        (["method.training.optimizer.lr=fast"], ["method.training.optimizer.lr=fast: expected a valid number"]),
        (
            ["method=sdid", "method.training.timesteps=[0,x]"],
            ["method.training.timesteps=", "expected a valid integer"],
        ),
    ],
)
def test_bad_values_are_refused_by_name(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        check(plain(*overrides))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
