from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from hspace_exp.concepts.concept import Concept, load_concept
from hspace_exp.errors import UserError
from hspace_exp.methods.task import Task, Trajectories
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_rivals.h_guidance import HClassifier, LinearClassifier, accuracy, fit

NEUTRAL = "a photo of a person"
PROMPTS = {name: ConceptPrompts(f"a photo of a {name}", NEUTRAL, name) for name in ("woman", "man")}


def states(classes: int = 3, spread: float = 1.0) -> torch.Tensor:
    """(K, N, T, C, H, W), each class around its own mean, each noise level at its own offset and size."""
    random = torch.Generator().manual_seed(0)
    means = torch.randn(classes, 1, 1, 2, 2, 1, generator=random)
    h = means + spread * torch.randn(classes, 6, 2, 2, 2, 1, generator=random)
    return h * torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1) + torch.tensor([5.0, -2.0]).reshape(2, 1, 1, 1)


def test_the_classifier_is_scipys_minimum_of_the_same_loss() -> None:
    h, ridge = states(), 0.01
    found = fit(h, ridge, 500)
    centre = h.mean((0, 1)).numpy()
    centred = h.numpy() - centre
    scale = np.sqrt((centred**2).mean((0, 1, 3, 4, 5)))
    rows = (centred / scale[:, None, None, None] / 2).reshape(36, 4).astype(np.float64)
    target = np.repeat(np.arange(3), 12)

    def loss(flat: np.ndarray) -> float:
        w, b = flat[:12].reshape(3, 4), flat[12:]
        logits = rows @ w.T + b
        shifted = logits - logits.max(1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        return -log_p[np.arange(36), target].mean() + ridge / 2 * (w**2).sum()

    best = minimize(loss, np.zeros(15), tol=1e-12).x
    w, b = best[:12].reshape(3, 4), best[12:]
    for level in (0, 1):
        logits = rows.reshape(3, 6, 2, 4)[:, :, level].reshape(18, 4) @ w.T + b
        expected = torch.tensor(logits).log_softmax(1)
        given = found.log_probabilities(h[:, :, level].flatten(0, 1), level)
        torch.testing.assert_close(given.double(), expected, rtol=1e-3, atol=2e-3)


def test_gradient_is_that_of_autograd_and_of_finite_differences() -> None:
    h = states()
    found = fit(h, 0.01, 100)
    classifier = LinearClassifier(found.weights.double(), found.scale.double(), found.bias.double(), 3.0)
    target = torch.tensor([2, 0, 1, 1])
    for level in (0, 1):
        some = h[0, :4, level].double().requires_grad_()
        chosen = classifier.log_probabilities(some, level).gather(1, target[:, None])
        (expected,) = torch.autograd.grad(chosen.sum(), some)
        given = classifier.gradient(some.detach(), level, target)
        torch.testing.assert_close(given, expected)
        step = torch.zeros_like(some)
        step[:, 1, 0, 0] = 1e-5
        ends = [
            classifier.log_probabilities(some.detach() + sign * step, level).gather(1, target[:, None])[:, 0]
            for sign in (1, -1)
        ]
        torch.testing.assert_close((ends[0] - ends[1]) / 2e-5, given[:, 1, 0, 0], rtol=1e-5, atol=1e-7)


def test_levels_follow_the_share_of_the_schedule() -> None:
    classifier = LinearClassifier(torch.zeros(2, 1, 1, 1), torch.ones(20), torch.zeros(2, 20))
    assert [classifier.at(step / 20) for step in range(20)] == list(range(20))
    assert [classifier.at(step / 4) for step in range(4)] == [0, 5, 10, 15]
    assert classifier.at(0.99) == 19


def test_accuracy_is_the_share_told_apart() -> None:
    h = states(2, spread=0.01)
    classifier = fit(h, 1e-4, 100)
    assert accuracy(classifier, h) == 1.0
    assert accuracy(classifier, h.flip(0)) == 0.0


def test_accuracy_counts_the_states_of_each_class_at_each_level() -> None:
    weights = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])[:, :, None, None]
    classifier = LinearClassifier(weights, torch.ones(2), torch.tensor([[0.0, 4.0], [0.0, 0.0], [0.0, 0.0]]))
    h = torch.tensor([[2.0, 1.0], [1.0, 2.0], [-1.0, -3.0]])[:, None, None, :, None, None]
    # At the first level all three are right; at the second the bias lets the first class win over the second.
    assert accuracy(classifier, h.repeat(1, 1, 2, 1, 1, 1)) == 0.8333


def test_files_alone_give_the_classifier_back(tiny_backbone: Backbone, tmp_path: Path) -> None:
    runs = {}
    for k, name in enumerate(PROMPTS):
        random = torch.Generator().manual_seed(k)
        latents = torch.randn(5, 2, *tiny_backbone.latent_shape, generator=random) + k
        runs[name, "positive"] = Trajectories(latents, torch.tensor([[900, 300]] * 5))
    groups = dict.fromkeys(PROMPTS, "gender")
    task = Task(tiny_backbone, "h_guidance", groups, PROMPTS, 1, 0, tmp_path, "x", lambda: None, runs=runs)  # type: ignore[arg-type, return-value]
    learner = HClassifier(states=100)
    assert learner.needs == {"positive"}
    learnt = learner.learn(task)
    saved = [load_concept(concept.save(tmp_path / f"{name}.safetensors")) for name, concept in learnt.items()]
    before, after = (LinearClassifier.of(some, tiny_backbone.device) for some in (list(learnt.values()), saved))
    for name in ("weights", "scale", "bias"):
        torch.testing.assert_close(getattr(before, name), getattr(after, name))
    assert after.bias.shape == (2, 2)
    assert saved[0].hyperparameters["unet_evaluations"] == {"forward": 10, "backward": 0}
    assert 0 <= saved[0].hyperparameters["accuracy_held_out"] <= 1


def test_nonsense_is_refused() -> None:
    bare = Concept(torch.ones(2, 1, 1), "man", "gender", "m", "r", (2, 4, 4), "sdid")
    with pytest.raises(UserError, match="method=h_guidance"):
        LinearClassifier.of([bare], torch.device("cpu"))
