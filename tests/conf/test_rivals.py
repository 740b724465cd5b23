"""Methods are what their sources say but for what was tuned, and any of them takes a low-frequency term."""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from experiments.tuning.tune import TRIALS
from hspace_exp.config.command_line import CONF
from hspace_exp.config.schema import register
from hspace_exp.prompts.explicit import names_attribute
from hspace_exp.prompts.plan import plan

TUNED = Path(__file__).parents[2] / "experiments" / "tuning" / "results"
RIVALS = [
    *("prompt", "sdid", "score_matching", "respodiff", "pca", "h_guidance"),
    *("uce", "equisteer", "sliders", "efa", "lwim", "focused"),
]


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


@functools.cache
def config(*overrides: str) -> DictConfig:
    return compose("config", list(overrides))


# Method → branch, objective or learner, how h is edited, low-frequency term and its source: none of it was tuned.
KINDS = {
    "sdid": ("conditional", "Denoising", None, 0.0, "current"),
    "score_matching": ("both", "ScoreMatching", None, 1.0, "original"),
    "respodiff": ("conditional", "ConceptAndNeutral", None, 0.0, "current"),
    "pca": ("both", "PrincipalComponents", None, 0.0, "current"),
    "h_guidance": ("both", "HClassifier", "HGuidance", 0.0, "current"),
    "uce": ("both", None, "ClosedFormEdit", 0.0, "current"),
    "equisteer": ("conditional", None, "EquiSteer", 0.0, "current"),
    "sliders": ("both", "TextSliders", "Sliders", 0.0, "current"),
    "efa": ("both", "AttentionPredictors", "ExtendedAttention", 0.0, "current"),
    "fair_diffusion": ("both", None, "FairDiffusion", 0.0, "current"),
    "lwim": ("conditional", "Localised", None, 0.35, "original"),
    "focused": ("conditional", "ScoreMatching", "Focus", 0.0, "current"),
}
# Method → setting → its published or released value, and how a comment puts it.
PUBLISHED: dict[str, dict[str, tuple[Any, str]]] = {
    "sdid": {
        "strength": (1.0, "1"),
        "training.optimizer.lr": (0.1, "0.1"),
        "training.optimizer._target_": ("torch.optim.Adam", "Adam"),
        "training.decay": ("none", "none"),
        "training.batch_size": (8, "8"),
        "training.timesteps": ([0, 1000], "all"),
    },
    "score_matching": {
        "strength": (2.0, "2"),
        "training.vector": ("channel", "channel"),
        "training.init_std": (0.02, "0.02"),
        "training.batch_size": (4, "4"),
        "training.optimizer._target_": ("torch.optim.AdamW", "AdamW"),
        "training.optimizer.lr": (0.01, "rate 0.01"),
        "training.optimizer.weight_decay": (0.01, "weight decay 0.01"),
        "training.decay": ("none", "no decay"),
    },
    "respodiff": {
        "strength": (1.0, "1"),
        "training.objective.weight": (0.5, "weight 0.5"),
        "training.on_policy.teacher_guidance": (4.0, "4"),
        "training.on_policy.runs": (["neutral"], "neutral"),
        "training.optimizer.lr": (0.01, "0.01"),
        "training.decay": ("none", "none"),
        "training.batch_size": (1, "1"),
    },
    "uce": {
        "edit.ridge": (0.5, "0.5"),
        "edit.preserve": (1.0, "1"),
        "edit.tokens": ("last", "last"),
        "edit.values": ("alone", "alone"),
    },
    "equisteer": {
        "strength": (1.0, "1"),
        "branch": ("conditional", "conditional"),
        "window": ([0.0, 1.0], "all"),
        "edit.scope": ("all", "all"),
    },
    "fair_diffusion": {
        "strength": (4.0, "4"),
        "edit.threshold": (0.95, "0.95"),
        "edit.warm_up": (0.1, "0.1"),
        "edit.momentum": (0.5, "0.5"),
        "edit.decay": (0.6, "0.6"),
    },
    "lwim": {
        "training.objective.beta": (0.4, "0.4"),
        "training.optimizer.lr": (0.1, "0.1"),
        "training.decay": ("none", "constant"),
        "training.batch_size": (8, "8"),
    },
}


def name_of(node: DictConfig | None) -> str | None:
    return None if node is None else str(node._target_).rpartition(".")[2]


@pytest.mark.parametrize("method", KINDS)
def test_what_was_not_tuned_is_the_sources(method: str) -> None:
    found = config(f"method={method}")
    training = found.method.training
    learner = training and (training.get("objective") or training)
    kinds = (found.method.branch, name_of(learner), name_of(found.method.get("edit")))
    assert (*kinds, found.frequency.weight, found.frequency.source) == KINDS[method]
    assert found.method.strength == "auto"


@pytest.mark.parametrize(("method", "key"), [(method, key) for method, keys in PUBLISHED.items() for key in keys])
def test_what_differs_from_its_source_is_noted(method: str, key: str) -> None:
    published, words = PUBLISHED[method][key]
    used = OmegaConf.select(config(f"method={method}").method, key, default="none")  # of the decay
    comments = re.findall(r"# .*(?:published|released): (.*)", (CONF / "method" / f"{method}.yaml").read_text())
    noted = [some for some in comments if re.search(rf"(?:^|[ ,]){re.escape(words)}(?:$|[,;])", some)]
    assert used == published or noted, f"{method}: {key} is {used}, published {published}"


def trials(name: str) -> list[dict[str, Any]]:
    path = TUNED / f"{name}.json"
    return json.loads(path.read_bytes())["trials"] if path.exists() else []


def winner(method: str) -> dict[str, str]:
    """Of the trials at the budget of the tables those that reached success, there and in round one, else all.

    Of these the one with the best background, or, where none reached success, the most successful one.
    """
    first, finer = trials(method), trials(f"{method}_finer")
    reached = [trial["settings"] for trial in first if trial["reached"]]
    found = [trial for trial in finer if trial["reached"] and trial["settings"] in reached] or finer or first
    by = "background_psnr" if any(trial["reached"] for trial in found) else "success"
    among = [trial for trial in found if trial["reached"]] or found
    return dict(max(among, key=lambda trial: trial[by])["settings"])


@pytest.mark.parametrize("method", KINDS)
def test_settings_are_those_of_the_winner_of_the_tuning_study(method: str) -> None:
    found = winner(method)
    assert len(found) == (
        2 if "method.training.optimizer.lr" not in found and method not in ("uce", "equisteer") else 3
    )
    used = {key: OmegaConf.select(config(f"method={method}"), key) for key in found}
    assert used == {key: yaml.safe_load(value) for key, value in found.items()}


def test_sdid_as_published_is_a_choice() -> None:
    published = config("method=sdid_published").method
    for key, (value, _) in PUBLISHED["sdid"].items():
        assert OmegaConf.select(published, key) == value


@pytest.mark.parametrize(
    ("method", "frequency"),
    [*((method, "haar") for method in RIVALS), *itertools.product(("sdid", "lwim"), ("fft", "none"))],
)
def test_low_frequencies_can_be_switched_for_any_of_them(method: str, frequency: str) -> None:
    term = instantiate(config(f"method={method}", f"frequency={frequency}").frequency, _convert_="all")
    assert term.weight == (0.0 if frequency == "none" else 0.35)


@pytest.mark.parametrize("method", RIVALS)
def test_they_learn_from_what_the_stages_make(method: str) -> None:
    made = instantiate(config(f"method={method}", "frequency=haar").method, _convert_="all")
    assert made.needs <= {"images", "maps", "neutral", "positive"}
    assert made.edits


@pytest.mark.parametrize("method", ["sliders", "efa", "fair_diffusion"])
def test_what_is_used_is_among_the_values_of_sixteen_trials(method: str) -> None:
    tried = TRIALS[method]
    assert math.prod(map(len, tried.values())) == 16
    for key, values in tried.items():
        assert str(OmegaConf.select(config(f"method={method}"), key)).replace(" ", "") in map(str, values)


def test_sliders_learn_from_neutral_runs_alone() -> None:
    found = config("method=sliders")
    made = instantiate(found.method, _convert_="all")
    assert made.needs == {"neutral"}
    assert made.composes
    assert (found.method.training.rank, found.method.training.eta, found.method.branch) == (4, 4.0, "both")
    assert OmegaConf.select(config("method=sliders", "method.training.layers=self"), "method.edit.layers") == "self"


def test_efa_learns_from_masks() -> None:
    found = config("method=efa", "method.training.width=8")
    made = instantiate(found.method, _convert_="all")
    assert made.needs == {"images", "maps"}
    assert not made.composes
    assert found.method.edit.width == 8


def test_fair_diffusion_learns_nothing() -> None:
    made = instantiate(config("method=fair_diffusion").method, _convert_="all")
    assert made.edits
    assert not made.needs
    assert not made.composes


def test_prompts_that_name_a_gender_are_asked_for_the_other_one() -> None:
    for asked, named in (("male", "female"), ("female", "male")):
        found = config("+experiment=explicit_prompts", f"protocol.assignment={asked}", "protocol=full")
        unseen = found.prompts.groups.unseen
        assert list(found.protocol.professions) == [f"{named} {name}" for name in unseen]
        assert not found.respect_prompt
        items = plan(found.protocol.professions, found.prompts.templates, 1, ["female", "male"], asked)
        lists = OmegaConf.to_object(found.attribute.explicit)
        assert all(names_attribute(item.prompt, lists) == [named] and item.target == asked for item in items)
        assert found.calibration.professions == found.prompts.groups.validation  # as found for any other prompts
