"""h-guidance: a linear classifier on h guides sampling, its gradient is added to h (Parihar et al., CVPR 2024)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from hspace_exp.concepts.concept import Concept, Levels
from hspace_exp.errors import UserError
from hspace_exp.methods.steering import Application, Steering, targets_of
from hspace_exp.methods.task import Task, h_of_runs
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Hooks, step_at
from hspace_exp.prompts.plan import Item
from hspace_rivals.beside import beside_low_frequencies, exclusive, halves

log = logging.getLogger(__name__)

_HELD_OUT = 4  # every so many-th run is kept for the accuracy


@dataclass(frozen=True)
class LinearClassifier:
    """log p(k | h, t) = log_softmax_k((<w_k, h> / scale_t + bias_kt) / temperature)."""

    weights: Tensor  # (K, C, H, W) w
    scale: Tensor  # (T,) of h at each of T evenly spaced shares of the schedule, the first one at its start
    bias: Tensor  # (K, T)
    temperature: float = 1.0  # above 1 probabilities are milder than the training data make them

    @classmethod
    def of(cls, concepts: Sequence[Concept], device: torch.device, temperature: float = 1.0) -> LinearClassifier:
        """From concept files."""
        parts = list[Levels]()
        for concept in concepts:
            levels = concept.used.classifier
            if levels is None or len(levels.bias) != len((parts or [levels])[0].scale):
                raise UserError(f"concept {concept.name!r} lacks a classifier as others': say method=h_guidance")
            parts.append(levels)
        weights = torch.stack([concept.vector for concept in concepts])
        bias = torch.tensor([part.bias for part in parts])
        return cls(weights.to(device), torch.tensor(parts[0].scale, device=device), bias.to(device), temperature)

    def at(self, done: float) -> int:
        """Which of the T noise levels the step after the share ``done`` of the schedule has, or comes closest to."""
        return step_at(done, len(self.scale))

    def log_probabilities(self, h: Tensor, level: int) -> Tensor:
        """(B, K) of h (B, C, H, W) at a noise level."""
        products = torch.einsum("bchw,kchw->bk", h, self.weights)
        return ((products / self.scale[level] + self.bias[:, level]) / self.temperature).log_softmax(1)

    def gradient(self, h: Tensor, level: int, target: Tensor) -> Tensor:
        """Gradient of log p(target | h, t) by h (B, C, H, W): (w_y - sum_k p_k w_k) / (scale_t * temperature).

        ``target`` holds (B,) classes y; ``level`` is that of noise.
        """
        mean = torch.einsum("bk,kchw->bchw", self.log_probabilities(h, level).exp(), self.weights)
        return (self.weights[target] - mean) / (self.scale[level] * self.temperature)


@dataclass(frozen=True)
class HClassifier:
    """Learns the classifier that h-guidance follows, from runs that show each concept; no gradient through the U-Net.

    After Parihar et al., "Balancing Act" (CVPR 2024). From the paper and its released code: a linear layer on h, the
    timestep known to it (there one layer a step), trained on h of images of known attribute. Our reading: the images
    are the positive runs' own states, seen under the neutral prompt so that the text does not tell the answer; as one
    vector serves all timesteps, all steps share w, and h is centred and scaled in each; ridge and L-BFGS, so that the
    result is the one minimum. The file of a concept holds its w, and in ``classifier`` the scale and bias of each step.
    """

    # half of it times ||w||^2 is added to the cross-entropy, with h scaled to length one; without, no one solution
    ridge: PositiveFloat = 1e-3
    states: Annotated[int, Field(ge=2)] = 4096  # of each concept's runs, at most
    iterations: PositiveInt = 200  # of L-BFGS, at most
    needs: ClassVar[frozenset[str]] = frozenset({"positive"})
    subjects: ClassVar[Sequence[str]] = ()

    def learn(self, task: Task) -> dict[str, Concept]:
        """One classifier for each attribute."""
        learnt: dict[str, Concept] = {}
        for names, neutral in exclusive(task):
            h = torch.stack([h_of_runs(task, name, "positive", self.states, neutral) for name in names])
            held_out = torch.arange(h.shape[1]) % _HELD_OUT == _HELD_OUT - 1
            classifier = fit(h[:, ~held_out], self.ridge, self.iterations)
            right = accuracy(classifier, h[:, held_out]) if held_out.any() else None
            log.info("classifier of %s: %s right on runs held out", ", ".join(names), right)
            for k, name in enumerate(names):
                learnt[name] = task.concept(
                    name,
                    classifier.weights[k],
                    classifier={"scale": classifier.scale.tolist(), "bias": classifier.bias[k].tolist()},
                    accuracy_held_out=right,
                    unet_evaluations={"forward": h.shape[1] * h.shape[2], "backward": 0},
                )
        return learnt


def fit(h: Tensor, ridge: float, iterations: int) -> LinearClassifier:
    """The classifier of least cross-entropy + ridge / 2 ||w||^2, by at most so many iterations of L-BFGS.

    ``h`` is (K, N, T, C, H, W) of N runs that show each of K classes, at T noise levels; see ``HClassifier``.
    """
    classes, _, levels = h.shape[:3]
    size = h[0, 0, 0].numel()
    centre = h.mean((0, 1))
    centred = h - centre
    scale = centred.square().mean((0, 1, 3, 4, 5)).sqrt()
    rows = (centred / (scale * size**0.5)[:, None, None, None]).flatten(3).flatten(0, 2)
    target = torch.arange(classes).repeat_interleave(len(rows) // classes)
    weights, bias = torch.zeros(classes, size, requires_grad=True), torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, bias], max_iter=iterations, tolerance_grad=1e-6, tolerance_change=1e-9, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(rows @ weights.T + bias, target) + ridge / 2 * weights.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    found = weights.detach() / size**0.5
    offset = found @ centre.flatten(1).T / scale
    shape = (classes, *h.shape[3:])
    return LinearClassifier(found.reshape(shape), scale, bias.detach()[:, None].expand(-1, levels) - offset)


def accuracy(classifier: LinearClassifier, h: Tensor) -> float:
    """Share of states (K, N, T, C, H, W) whose class is the likeliest."""
    right = [
        classifier.log_probabilities(h[k, :, level], level).argmax(1) == k
        for k in range(h.shape[0])
        for level in range(h.shape[2])
    ]
    return round(torch.cat(right).double().mean().item(), 4)


@dataclass(frozen=True)
class HGuidance:
    """h' = h + s * r_t^2 * grad_h log p(y | h, t), r_t the usual distance of h from its mean at that noise level.

    So s is the step in coordinates in which h has length one.

    After Parihar et al., "Balancing Act" (CVPR 2024). From the paper and its released code: gradients of a classifier
    on h with respect to h, added to h in every step to both halves of guidance, each half with its own; for a batch
    whose predicted classes should follow a distribution, or for a class that each sample is given. Here every image
    has its target, so it is the form by sample. Our reading: the gradient is that of log p, which fades as the class is
    reached (for samples the released code follows the logit, for batches tempered probabilities, as here), and r_t,
    with which s means the same at all steps and for all models.
    """

    # of the probabilities; 8 as released: a classifier of thousands of dimensions is soon sure, and the gradient gone
    temperature: PositiveFloat = 8.0
    keeps: ClassVar[bool] = False
    composes: ClassVar[bool] = False  # the classes of one classifier exclude each other

    def steer(self, application: Application, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``, see ``Editor``; the concepts are the classes."""
        if len(application.concepts) < 2:
            raise UserError("h_guidance tells the concepts of an attribute apart: it needs the files of all of them")
        return beside_low_frequencies(self._hooks, application, backbone, items, guided)

    def _hooks(self, application: Application, backbone: Backbone, guided: bool, items: Sequence[Item]) -> Hooks:
        a, device, count = application, backbone.device, len(items)
        classifier = LinearClassifier.of(list(a.concepts.values()), device, self.temperature)
        square = classifier.scale.square() * classifier.weights[0].numel()  # r_t^2
        names, vectors = list(a.concepts), {name: concept.vector for name, concept in a.concepts.items()}
        _, strength = targets_of(items, vectors, a.strength, device)
        target = torch.tensor([names.index(item.target) if item.target else 0 for item in items], device=device)
        starts = halves(a, count, guided)
        rows, repeats = torch.arange(starts.start, starts.stop), len(starts)

        def add(level: int, h: Tensor) -> Tensor:
            size, of_batch = (strength * square[level]).repeat(repeats)[:, None, None, None], rows.to(h.device)
            addition = size * classifier.gradient(h[of_batch].float(), level, target.repeat(repeats))
            return h.index_add(0, of_batch, addition.to(h.dtype))

        def hooks(done: float) -> AbstractContextManager[object]:
            return backbone.edited(partial(add, classifier.at(done))) if done in a.window else nullcontext()

        return hooks
