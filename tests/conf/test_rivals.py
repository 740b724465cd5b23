"""The rivals keep their published choices, and any of them takes a low-frequency term."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from hspace_exp.config.command_line import CONF
from hspace_exp.config.schema import register

RIVALS = ["prompt", "sdid", "score_matching", "respodiff", "pca", "h_guidance", "lwim", "focused"]


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


@functools.cache
def config(*overrides: str) -> DictConfig:
    return compose("config", list(overrides))


def test_score_matching_is_as_released() -> None:
    released = config("method=score_matching")
    training = released.method.training
    assert (training.vector, training.init_std, training.batch_size) == ("channel", 0.02, 4)
    assert (training.optimizer.lr, training.optimizer.weight_decay) == (0.01, 0.01)
    assert training.optimizer._target_.endswith("AdamW")
    assert (released.method.strength, released.method.branch) == (2.0, "both")
    assert (released.frequency.weight, released.frequency.source) == (1.0, "original")


def test_respodiff_is_as_published() -> None:
    training = config("method=respodiff").method.training
    assert (training.objective.weight, training.on_policy.teacher_guidance) == (0.5, 4.0)
    assert (training.batch_size, training.optimizer.lr) == (1, 0.01)
    assert list(training.on_policy.runs) == ["neutral"]


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
