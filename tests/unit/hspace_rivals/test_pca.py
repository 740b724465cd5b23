from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from benchmarks.recording import record_hspace
from hspace_exp.errors import UserError
from hspace_exp.methods.task import Task, Trajectories
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_rivals import pca
from hspace_rivals.pca import PrincipalComponents, by_timestep, principal_components, separation

NEUTRAL = "a photo of a person"
PROMPTS = {name: ConceptPrompts(f"a photo of a {name}", NEUTRAL, name) for name in ("woman", "man")}


def some_runs(backbone: Backbone, seed: int, count: int = 3, shift: float = 0.0) -> Trajectories:
    random = torch.Generator().manual_seed(seed)
    latents = torch.randn(count, 2, *backbone.latent_shape, generator=random) + shift
    return Trajectories(latents, torch.tensor([[900, 300]] * count))


@pytest.fixture
def task(tiny_backbone: Backbone, tmp_path: Path) -> Task:
    runs = {(name, "neutral"): some_runs(tiny_backbone, 0) for name in PROMPTS}
    runs |= {("woman", "positive"): some_runs(tiny_backbone, 1, shift=1.0)}
    runs |= {("man", "positive"): some_runs(tiny_backbone, 2, shift=-1.0)}
    groups = dict.fromkeys(PROMPTS, "gender")
    return Task(tiny_backbone, "pca", groups, PROMPTS, 1, 0, tmp_path, "x", lambda: None, runs=runs)  # type: ignore[arg-type, return-value]


def test_components_are_those_of_numpys_svd() -> None:
    rows = np.random.default_rng(0).normal(size=(12, 40)) * np.linspace(3, 0.1, 40)
    rows -= rows.mean(0)
    _, singular, directions = np.linalg.svd(rows, full_matrices=False)
    found, spread = principal_components(torch.tensor(rows), 5)
    np.testing.assert_allclose(spread.numpy(), singular[:5] / np.sqrt(12), rtol=1e-8)
    np.testing.assert_allclose(spread.numpy(), (rows @ found.numpy().T).std(0), rtol=1e-8)
    np.testing.assert_allclose(np.abs(found.numpy() @ directions[:5].T), np.eye(5), atol=1e-8)
    assert (found.abs().max(1).values == found.max(1).values).all()


def test_components_without_variance_are_left_out() -> None:
    rows = torch.randn(6, 1, generator=torch.Generator().manual_seed(0)).double() * torch.ones(6, 9)
    directions, spread = principal_components(rows - rows.mean(0), 4)
    assert directions.shape == (1, 9)
    torch.testing.assert_close(directions, torch.full((1, 9), 1 / 3).double())
    assert spread.shape == (1,)


def test_timesteps_are_no_direction() -> None:
    h = torch.randn(4, 3, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    shifted = h + torch.tensor([0.0, 50.0, -70.0]).reshape(1, 3, 1, 1, 1)
    torch.testing.assert_close(by_timestep(shifted), by_timestep(h), rtol=1e-4, atol=1e-4)
    assert by_timestep(h).shape == (12, 2)


def test_separation_is_the_distance_of_means_in_standard_deviations() -> None:
    rng = np.random.default_rng(0)
    shown = [rng.normal(size=(20, 3)) + mean for mean in ([0, 0, 0], [4, 0, 0], [8, 0, 3])]
    found = separation([torch.tensor(rows) for rows in shown], 2).numpy()
    means = [rows.mean(0) for rows in shown]
    within = np.sqrt(np.mean([rows.var(0) for rows in shown], axis=0))
    np.testing.assert_allclose(found, (means[2] - (means[0] + means[1]) / 2) / within)
    assert np.abs(found).argmax() == 0


def test_a_learnt_vector_is_a_component_times_its_standard_deviation(task: Task) -> None:
    backbone = task.backbone
    learnt = PrincipalComponents(components=4).learn(task)
    runs = task.runs["man", "neutral"]
    with record_hspace(backbone.unet) as seen:
        for run in range(3):
            for step in range(2):
                embeds = backbone.encode_prompts([NEUTRAL])
                backbone.predict(runs.latents[run, step][None], runs.timesteps[run, step], embeds)
    h = torch.cat(seen).unflatten(0, (3, 2))
    rows = (h - h.mean(0)).flatten(2).flatten(0, 1).double().numpy()
    _, singular, directions = np.linalg.svd(rows, full_matrices=False)
    for concept in learnt.values():
        k = concept.hyperparameters["component"]
        vector = concept.vector.flatten().double().numpy()
        np.testing.assert_allclose(np.linalg.norm(vector), singular[k] / np.sqrt(6), rtol=1e-3)
        assert abs(directions[k] @ vector) / np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)
        assert concept.hyperparameters["unet_evaluations"] == {"forward": 12, "backward": 0}
    torch.testing.assert_close(learnt["woman"].vector, -learnt["man"].vector)


@pytest.mark.parametrize(
    ("count", "best", "apart", "deviation", "vector"),
    [(1, 0, 1.0, 2.8284, [8**0.5, 0.0]), (2, 1, 6.6679, 0.7071, [0.0, 0.5**0.5])],
)
def test_the_component_is_the_one_that_tells_most_of_those_looked_at(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    count: int,
    best: int,
    apart: float,
    deviation: float,
    vector: list[float],
) -> None:
    """Runs spread by the root of 8 along one axis and of a half along the other, which tells more."""
    runs = {
        ("woman", "neutral"): [[4, 0], [-4, 0], [0, 1], [0, -1]],
        ("woman", "positive"): [[3, 3], [-1, 6]],  # means 1 and 4.5, variances 4 and 2.25
        ("man", "positive"): [[1, -3], [-3, -5]],  # means -1 and -4, variances 4 and 1
    }
    asked = []

    def h_of_runs(task: Task, name: str, kind: str, states: int, prompt: str) -> torch.Tensor:
        asked.append((name, kind, states, prompt))
        h = torch.tensor(runs[name, kind], dtype=torch.float32)[:, None, :, None, None]
        step = 0.0 if kind == "neutral" else 7.0  # which the mean over a run's steps takes away
        return torch.cat([h + step, h + 50 - step], dim=1)

    monkeypatch.setattr(pca, "h_of_runs", h_of_runs)
    backbone = cast(Backbone, SimpleNamespace(name="m", revision="r", h_shape=(2, 1, 1)))
    groups = dict.fromkeys(PROMPTS, "gender")
    task = Task(backbone, "pca", groups, PROMPTS, 1, 0, tmp_path, "x", dict)
    learnt = PrincipalComponents(components=count, states=99).learn(task)
    kinds = [("woman", "neutral"), ("woman", "positive"), ("man", "positive")]
    assert asked == [(*kind, 99, NEUTRAL) for kind in kinds]
    for name, sign in (("woman", 1.0), ("man", -1.0)):
        torch.testing.assert_close(learnt[name].vector.flatten(), sign * torch.tensor(vector))
        assert learnt[name].hyperparameters == {
            "component": best,
            "separation": sign * apart,
            "standard_deviation": deviation,
            "unet_evaluations": {"forward": (4 + 2) * 2, "backward": 0},
            "steps": 1,
            "made_by": "x",
        }


def test_what_it_cannot_tell_apart_is_refused(task: Task) -> None:
    alone = replace(task, prompts={"man": PROMPTS["man"]})
    with pytest.raises(UserError, match="'man' alone in 'gender'"):
        PrincipalComponents().learn(alone)
    prompts = {**PROMPTS, "man": replace(PROMPTS["man"], neutral="a person")}
    with pytest.raises(UserError, match="one neutral prompt"):
        PrincipalComponents().learn(replace(task, prompts=prompts))
