"""Settings at their bounds: the least and the largest that mean something are taken, the next ones refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks.recording import record_hspace
from hspace_exp.config.checks import check_targets
from hspace_exp.errors import UserError
from hspace_exp.methods.base import Method
from hspace_exp.methods.focused import Focus
from hspace_exp.methods.frequency import LowFrequency, fft_lowpass, haar_lowpass
from hspace_exp.methods.learning import OnPolicy, Training
from hspace_exp.methods.lwim import Localised
from hspace_exp.methods.score_matching import ScoreMatching
from hspace_exp.methods.sdid import Denoising
from hspace_exp.methods.steering import Window, strength_of
from hspace_exp.methods.task import Task, Trajectories, h_of_runs
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_rivals.beside import exclusive
from hspace_rivals.h_guidance import HClassifier, HGuidance
from hspace_rivals.pca import PrincipalComponents
from hspace_rivals.respodiff import ConceptAndNeutral

ADAM = partial(torch.optim.Adam, lr=0.1)
PLANE = torch.arange(16.0).view(1, 1, 4, 4)
train = partial(Training, Denoising(), ADAM)
learn = partial(Training, ScoreMatching(), ADAM)


@pytest.mark.parametrize(
    ("make", "taken", "refused"),
    [
        (lambda foresight: Focus(release=True, foresight=foresight), True, False),
        (lambda rate: Training(Denoising(), partial(torch.optim.Adam, lr=rate)), 1e-9, 0.0),
        (lambda rate: Training(Denoising(), partial(torch.optim.Adam, lr=rate)), 1e6, 1e300),
        (lambda rate: Training(Denoising(), partial(torch.optim.Adam, lr=rate)), 0.1, -1.0),
        (lambda eps: Training(Denoising(), partial(torch.optim.Adam, lr=0.1, eps=eps)), 1e-8, -1.0),
        (lambda strength: strength_of(strength, "female"), 1e6, 1e300),
        (lambda strength: strength_of({"female": strength}, "female"), -1e6, float("nan")),
        (lambda times: train(timesteps=times), (0, 1), (-1, 1)),
        (lambda times: train(timesteps=times), [5, 6], [5, 5]),
        (lambda runs: learn(on_policy=OnPolicy(runs), presence=True), ("positive",), ("neutral",)),
        (lambda policy: Training(ConceptAndNeutral(), ADAM, on_policy=policy), OnPolicy(), None),
        (lambda policy: Training(Localised(), ADAM, on_policy=policy), None, OnPolicy()),
        (lambda stop: Window(0.25, stop), 1.0, 1.1),
        (lambda start: Window(start, 0.5), 0.0, -0.1),
        (lambda start: Window(start, 0.5), 0.4, 0.5),
        (lambda window: Method("x", 1.0, "both", window=window), (0.0, 0.5), (0.0, 0.5, 1.0)),
        (lambda branch: Method("x", 1.0, branch), "conditional", "unconditional"),
        (lambda branch: LowFrequency(0.1, transform=haar_lowpass, branch=branch), None, "unconditional"),
        (lambda weight: LowFrequency(weight), 0.0, 0.35),
        (lambda source: LowFrequency(source=source), "original", "edited"),
        (lambda levels: haar_lowpass(PLANE, levels), 2, 0),
        (lambda cutoff: fft_lowpass(PLANE, cutoff), 2**0.5, 1.5),
        (lambda cutoff: fft_lowpass(PLANE, cutoff), 1e-3, 0.0),
    ],
)
def test_a_setting_at_its_bound_is_taken_and_beyond_refused(
    make: Callable[[object], object], taken: object, refused: object
) -> None:
    make(taken)
    with pytest.raises(UserError):
        make(refused)


@pytest.mark.parametrize(
    ("target", "name", "taken", "refused"),
    [
        (PrincipalComponents, "components", 1, 0),
        (PrincipalComponents, "states", 2, 1),
        (HClassifier, "ridge", 1e-9, 0.0),
        (HClassifier, "states", 2, 1),
        (HClassifier, "iterations", 1, 0),
        (HGuidance, "temperature", 0.5, 0.0),
        (Focus, "keep", 0.0, -0.1),
        (Focus, "gate", None, 0.0),
        (Focus, "gate", 1.0, 1.1),
        (Focus, "hold", 0.0, -0.1),
        (Focus, "hold", None, 1.1),
        (Training, "batch_size", 1, 0),
        (Training, "steps_multiplier", 1, 0),
        (Training, "timesteps", [0, 1000], [0, 500, 1000]),
        (Training, "vector", "channel", "channels"),
        (Training, "decay", "cosine", "linear"),
        (OnPolicy, "runs", ["positive"], []),
        (OnPolicy, "runs", ["neutral", "positive"], ["neutral", "negative"]),
        (Localised, "beta", 0, -1e-3),
        (Localised, "alpha", 0.0, -1e-3),
        (Localised, "sharpness", 1e-3, 0.0),
        (Localised, "floor", 0.0, -1e-3),
        (Localised, "floor", 1.0, 1.1),
        (Localised, "threshold", 1, 1.1),
        (Localised, "pool", "area", "mean"),
        (Localised, "source", "margin", "margins"),
        (Localised, "scope", "all", "finale"),
        (ConceptAndNeutral, "weight", 0.0, -1e-3),
        (ConceptAndNeutral, "rate", 0.0, -1e-3),
    ],
)
def test_a_configuration_with_a_setting_beyond_its_bound_is_refused_by_name(
    target: type, name: str, taken: object, refused: object
) -> None:
    node = {"_target_": f"{target.__module__}.{target.__name__}"}
    check_targets({**node, name: taken}, "method")
    with pytest.raises(UserError, match=rf"^method\.{name}=.*: expected "):
        check_targets({**node, name: refused}, "method")


def test_defaults_are_the_published_values() -> None:
    assert (PrincipalComponents().components, PrincipalComponents().states) == (25, 2048)
    assert (HClassifier().ridge, HClassifier().states, HClassifier().iterations) == (1e-3, 4096, 200)
    assert HGuidance().temperature == 8.0
    given = train()
    assert (given.vector, given.init_std, given.batch_size, tuple(given.timesteps)) == ("spatial", 0.0, 8, (0, 1000))
    assert (given.decay, given.on_policy, given.presence, given.steps_multiplier) == ("none", None, False, 1)
    assert (given.subjects, learn(on_policy=OnPolicy(subjects=["nurse"])).subjects) == ((), ["nurse"])
    assert Method("x", 1.0, "both", learn(on_policy=OnPolicy(subjects=["nurse"]))).subjects == ["nurse"]
    assert Method("x", 1.0, "both").subjects == ()
    plain = Localised()
    assert (plain.beta, plain.sharpness, plain.scope, plain.source, plain.threshold) == (0.4, 10.0, "final", "map", 0.5)


def test_a_low_frequency_term_that_is_off_asks_for_nothing() -> None:
    assert LowFrequency(0.0, "original", haar_lowpass).lowpass is None
    assert not LowFrequency(0.0, "original", haar_lowpass).paired
    assert LowFrequency(0.1, "original", haar_lowpass).paired
    assert not LowFrequency(0.1, "current", haar_lowpass).paired
    assert LowFrequency(0.1, "current", haar_lowpass).lowpass is haar_lowpass


def test_a_window_holds_the_step_at_its_start_but_not_at_its_stop() -> None:
    steps = [i / 10 for i in range(10)]
    assert [done for done in steps if done in Window(0.3, 0.6)] == [0.3, 0.4, 0.5]
    assert 0.1 + 0.2 - 1e-10 in Window(0.3, 0.6)  # but for rounding
    assert 0.299 not in Window(0.3, 0.6)


def task_of(backbone: Backbone, folder: Path, **more: object) -> Task:
    prompts = {
        "old": ConceptPrompts("an old person", "a person", "old", "aged"),
        "young": ConceptPrompts("a young person", "a person", "young"),
        "tan": ConceptPrompts("a tan person", "a person", "tan"),
        "dark": ConceptPrompts("a dark person", "a person", "dark"),
    }
    groups = {"old": "age", "young": "age", "tan": "skin_tone", "dark": "skin_tone"}
    given = {
        "steps": 30,
        "seed": 4,
        "folder": folder,
        "made_by": "abc",
        "make_trainer": dict,
        "hyperparameters": {"a": 1},
    }
    return Task(backbone, "mine", groups, prompts, **{**given, **more})  # type: ignore[arg-type]


def test_a_tasks_concept_says_what_it_is_and_how_it_was_made(tiny_backbone: Backbone, tmp_path: Path) -> None:
    task = task_of(tiny_backbone, tmp_path)
    vector, presence = torch.ones(16, 4, 4), torch.zeros(16, 4, 4)
    made = task.concept("old", vector, presence, component=3, a=2)
    assert (made.name, made.attribute, made.method, made.seed) == ("old", "age", "mine", 4)
    assert (made.model, made.revision, made.h_shape) == (tiny_backbone.name, tiny_backbone.revision, (16, 4, 4))
    assert made.hyperparameters == {"a": 2, "component": 3, "steps": 30, "made_by": "abc"}
    assert made.prompts == {"positive": "an old person", "neutral": "a person", "words": "old", "adjective": "aged"}
    assert torch.equal(made.vector, vector)
    assert made.presence is not None
    assert task.concept("tan", vector).presence is None


def test_concepts_that_exclude_each_other_share_a_neutral_prompt(tiny_backbone: Backbone, tmp_path: Path) -> None:
    task = task_of(tiny_backbone, tmp_path)
    assert exclusive(task) == [(["old", "young"], "a person"), (["tan", "dark"], "a person")]
    alone = {name: prompts for name, prompts in task.prompts.items() if name != "dark"}
    with pytest.raises(UserError, match="mine tells concepts of a group apart, got 'tan' alone in 'skin_tone'"):
        exclusive(replace(task, prompts=alone))
    other = {**task.prompts, "dark": ConceptPrompts("a dark man", "a man", "dark")}
    with pytest.raises(UserError, match="one neutral prompt for tan, dark, got 'a man', 'a person'"):
        exclusive(replace(task, prompts=other))


@pytest.mark.parametrize(("states", "count"), [(100, 3), (6, 3), (5, 2), (1, 2)])
def test_h_of_runs_is_what_the_unet_computes_at_their_states(
    tiny_backbone: Backbone, tmp_path: Path, states: int, count: int
) -> None:
    latents = torch.randn(3, 2, *tiny_backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    runs = Trajectories(latents, torch.tensor([[900, 100]] * 3))
    task = task_of(tiny_backbone, tmp_path, runs={("old", "positive"): runs})
    found = h_of_runs(task, "old", "positive", states, "a person")
    assert found.shape == (count, 2, 16, 4, 4)
    with record_hspace(tiny_backbone.unet) as seen:
        for row in range(count):
            for step, time in enumerate((900, 100)):
                tiny_backbone.predict(latents[row, step][None], time, tiny_backbone.encode_prompts(["a person"]))
    torch.testing.assert_close(found.flatten(0, 1), torch.cat(list(seen)), rtol=1e-4, atol=1e-5)
