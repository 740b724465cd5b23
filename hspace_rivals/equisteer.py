"""EquiSteer: outputs of cross-attention lose an attribute and get one value of it (Gaintseva et al., ECCV 2026)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.io.progress import track
from hspace_exp.io.seeding import LEARNING, initial_noise
from hspace_exp.methods.steering import Application, Steering, check_targets, strength_of
from hspace_exp.models.attention import cross_attention_modules, visited_cross_attention
from hspace_exp.models.backbone import Backbone, PipelineModel
from hspace_exp.models.sampling import Hooks, Sampling, step_at
from hspace_exp.prompts.attributes import Concepts
from hspace_exp.prompts.plan import Item
from hspace_exp.prompts.wording import wordings
from hspace_rivals.beside import beside_low_frequencies, halves
from hspace_rivals.latest import Latest

if TYPE_CHECKING:
    from diffusers.models.attention_processor import Attention

log = logging.getLogger(__name__)

Scope = Literal["all", "encoder"]
BEST: Literal["best"] = "best"
# Is shown which runs, and of them a layer's output (rows, N, C) in a step, of the conditional half.
See = Callable[[slice, int, int, Tensor], None]


@dataclass(frozen=True)
class Found:
    """What was collected of K values of an attribute at L layers and T steps, the first one at the schedule's start."""

    vectors: list[Tensor]  # a layer: (T, K, C) s^a, of length one
    bases: list[Tensor]  # a layer: (T, K, C) orthonormal rows that span them; rows of zeros where they span less
    magnitudes: Tensor  # (L, T, K) dp^a_mean
    thresholds: Tensor  # (L, K) thr^a at the first step
    gate: int  # the layer that tells best which prompts name a value

    def at(self, done: float) -> int:
        """Which of the T steps the one after the share ``done`` of the schedule is, or comes closest to."""
        return step_at(done, self.magnitudes.shape[1])


@dataclass(frozen=True)
class EquiSteer:
    """Every token x of cross-attention's output is cleared of the attribute and given the target's direction.

        x' = x - B^T B x (eq. 7) + s dp_mean s^target (eq. 8), brought back to the length of x (eq. 3)

    The rows of B are an orthonormal basis of the span of all values' s^a, at one layer and step. An image whose prompt
    names a value is left alone: at one layer and the first step the greatest <x, s^a> of its tokens is above thr^a for
    one of the values.

    From the paper and its released code: s^a is the difference of mean outputs under prompts with and without the
    value, of the same noise, over tokens and prompts, divided by its length; dp_mean the mean, over prompts with the
    value, of the greatest <x, s^a>; thr^a the midpoint of the means of that over prompts with and without it. All
    layers, all steps, the conditional half of guidance alone; layers before the gate's are left alone in the first
    step. There the gate's layer is chosen by hand, by the area under the ROC curve of max_a (dp^a - thr^a), as ``best``
    does here; the code's magnitude is thr^a by default and the paper's by an option; the value is drawn at random, s is
    1; and for gender the released code's prompts without the value have the other one.

    Our reading: the target is the item's, and s multiplies dp_mean, which the stage ``calibration`` finds. Prompts are
    the concepts' own with those ``subjects`` that other methods learn from, and noises are of the domain of learning.
    Steps are known by their share of the schedule. Of layers that tell alike, the one of the widest margin is the gate.
    """

    subjects: Sequence[str] = ()  # of the prompts, see ``wordings``; none: the concepts' own prompts
    noises: PositiveInt = 4  # a prompt
    steps: PositiveInt = 20  # of the sampling runs that directions are collected from
    gate: Literal["best"] | NonNegativeInt | None = BEST  # or a layer, counted from 0; None: no image is left alone
    scope: Scope = "all"  # of cross-attention that is steered, see ``cross_attention_modules``
    latest: Latest[Found] = field(default_factory=Latest, init=False, repr=False, compare=False)
    keeps: ClassVar[bool] = False
    composes: ClassVar[bool] = False  # the values of an attribute exclude each other

    def steer(self, application: Application, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``, see ``Editor``; the first call samples the runs that directions are collected from.

        Raises UserError: an item asks for an unknown concept, there is no such layer, or the model is that of a
        pipeline that is being called.
        """
        check_targets(items, application.prompts)
        if isinstance(backbone, PipelineModel):
            raise UserError("equisteer samples its model beforehand, which no call of a pipeline can: say generate")
        return beside_low_frequencies(self._hooks, application, backbone, items, guided)

    def found(self, backbone: Backbone, prompts: Concepts) -> Found:
        """Directions, magnitudes and thresholds of the concepts, in their order. Raises UserError: no such layer."""
        texts = tuple((name, *some.plain().items()) for name, some in prompts.items())
        make = partial(collected, backbone, prompts, self.subjects, self.noises, self.steps, self.scope)
        found = self.latest(backbone, (texts, tuple(self.subjects), self.noises, self.steps, self.scope), make)
        if isinstance(self.gate, int) and self.gate >= len(found.vectors):
            raise UserError(f"method.edit.gate is a layer below {len(found.vectors)}, got {self.gate}")
        return found

    def _hooks(self, application: Application, backbone: Backbone, guided: bool, items: Sequence[Item]) -> Hooks:
        a, device, count, names = application, backbone.device, len(items), list(application.prompts)
        found, modules = self.found(backbone, a.prompts), cross_attention_modules(backbone.unet, self.scope)
        layer_of = {id(module): layer for layer, (_, module) in enumerate(modules)}
        gate = found.gate if self.gate == BEST else self.gate
        asked = [row for row, item in enumerate(items) if item.target]
        starts = halves(a, count, guided)
        rows = torch.tensor([start + row for start in starts for row in asked], dtype=torch.long, device=device)
        # of the conditional half: what the gate reads, for each of ``rows``
        read = torch.tensor([count * guided + row for _ in starts for row in asked], dtype=torch.long, device=device)
        target = torch.tensor([names.index(items[row].target) for row in asked], dtype=torch.long, device=device)
        strength = torch.tensor([strength_of(a.strength, items[row].target) for row in asked], device=device)
        target, strength = target.repeat(len(starts)), strength.repeat(len(starts))
        edited = {"rows": torch.full_like(rows, gate is None, dtype=torch.bool)}  # until the gate was asked: none
        started = [gate is None]

        def visit(
            inside: bool, step: int, module: Attention, _q: Tensor, _text: Tensor, output: Tensor, _grid: object
        ) -> Tensor | None:
            layer = layer_of[id(module)]
            if layer == gate and not started[0]:
                scores = responses(output[read].float(), found.vectors[layer][0])
                edited["rows"], started[0] = (scores <= found.thresholds[layer]).all(1), True
            if not inside or not len(rows):
                return None
            some = output[rows]
            vector = found.vectors[layer][step][target]
            size = strength * found.magnitudes[layer, step][target]
            changed = steered(some.float(), found.bases[layer][step], size[:, None] * vector).to(output.dtype)
            return output.index_copy(0, rows, torch.where(edited["rows"][:, None, None], changed, some))

        def hooks(done: float) -> AbstractContextManager[object]:
            return visited_cross_attention(backbone.unet, modules, partial(visit, done in a.window, found.at(done)))

        return hooks


def cleared(x: Tensor, basis: Tensor) -> Tensor:
    """Tokens (…, C) less what lies in the span of a basis, orthonormal rows (K, C) or zeros."""
    return x - (x @ basis.T) @ basis


def steered(x: Tensor, basis: Tensor, addition: Tensor) -> Tensor:
    """Tokens (B, N, C), cleared, with an addition (B, C), each as long as it was."""
    new = cleared(x, basis) + addition[:, None]
    return new * x.norm(dim=-1, keepdim=True) / new.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def responses(x: Tensor, vectors: Tensor) -> Tensor:
    """(B, K) greatest <x, s^a> of the tokens x (B, N, C), for directions (K, C)."""
    return (x @ vectors.T).amax(1)


def span(vectors: Tensor) -> Tensor:
    """Orthonormal rows (T, K, C) that span vectors (T, K, C) at each step, with rows of zeros where they span less."""
    _, sizes, rows = torch.linalg.svd(vectors.double(), full_matrices=False)
    return (rows * (sizes > 1e-6 * sizes[:, :1])[..., None]).float()


def separation(shown: Tensor, plain: Tensor) -> tuple[float, float]:
    """How well scores tell prompts that name a value (P,) from others (Q,): the area under the ROC curve, and d'.

    Ties count half; d' is the difference of the means over the standard deviation within.
    """
    greater, equal = shown[:, None] > plain, shown[:, None] == plain
    area = float((greater.double() + 0.5 * equal.double()).mean())
    within = (shown.var(unbiased=False) + plain.var(unbiased=False)).div(2).sqrt().clamp(min=1e-12)
    return area, float((shown.mean() - plain.mean()) / within)


@torch.no_grad()
def collected(
    backbone: Backbone, prompts: Concepts, subjects: Sequence[str], noises: int, steps: int, scope: Scope
) -> Found:
    """Sample the prompts of all concepts twice: for the directions, and for what tokens answer to these.

    A pair of prompts, with and without the value, has the same noises.
    """
    said = [wordings(some, subjects) for some in prompts.values()]
    pairs = [[*zip(one.neutral, text, strict=True)] for one in said for text in (one.neutral, one.positive)]
    kinds = [[(key, text, k) for key, text in some for k in range(noises)] for some in pairs]
    runs = list(dict.fromkeys(run for kind in kinds for run in kind))
    # share of each run in the means of the values' neutral and positive prompts, in turn
    shares = torch.tensor([[(run in kind) / len(kind) for kind in kinds] for run in runs], dtype=torch.float64)
    layers, device = len(cross_attention_modules(backbone.unet, scope)), backbone.device
    sums: list[list[Tensor | float]] = [[0.0] * steps for _ in range(layers)]
    answers = torch.zeros(layers, steps, len(runs), len(said))

    def mean(rows: slice, layer: int, step: int, output: Tensor) -> None:
        sums[layer][step] += shares[rows].T @ output.mean(1).double().cpu()

    _sample(backbone, runs, steps, scope, mean, "directions of cross-attention")
    vectors = []
    for some in sums:
        means = torch.stack([torch.as_tensor(one) for one in some]).unflatten(1, (len(said), 2))
        difference = means[:, :, 1] - means[:, :, 0]
        vectors.append((difference / difference.norm(dim=-1, keepdim=True).clamp(min=1e-12)).float().to(device))

    def answer(rows: slice, layer: int, step: int, output: Tensor) -> None:
        answers[layer, step, rows] = responses(output, vectors[layer][step]).cpu()

    _sample(backbone, runs, steps, scope, answer, "answers of tokens to directions")
    by_kind = torch.einsum("ltrk,rg->ltgk", answers.double(), shares).unflatten(2, (len(said), 2))
    own = by_kind.diagonal(dim1=2, dim2=4)  # (L, T, 2, K) of the value's own prompts
    thresholds = own[:, 0].mean(1)
    scores = (answers[:, 0] - thresholds[:, None]).amax(2)
    named = (shares[:, 1::2] > 0).any(1)
    told = [separation(some[named], some[~named]) for some in scores]
    gate = max(range(layers), key=lambda layer: told[layer])
    names = ", ".join(prompts)
    log.info("gate of %s: layer %d of %d, area under the ROC curve %.3f", names, gate, layers, told[gate][0])
    return Found(
        vectors,
        [span(some) for some in vectors],
        own[:, :, 1].float().to(device),
        thresholds.float().to(device),
        gate,
    )


def _sample(
    backbone: Backbone,
    runs: Sequence[tuple[str, str, int]],
    steps: int,
    scope: Scope,
    see: See,
    description: str,
) -> None:
    """Sample runs, each of a noise's key, a prompt and a noise's number, and show all outputs of cross-attention."""
    sampling, modules = Sampling(steps), cross_attention_modules(backbone.unet, scope)
    layer_of = {id(module): layer for layer, (_, module) in enumerate(modules)}
    chunk = max(1, backbone.rows_without_gradient // 2)
    half, shape = 2 if sampling.guided(backbone) else 1, backbone.latent_shape

    def visit(
        rows: slice, step: int, module: Attention, _q: Tensor, _text: Tensor, output: Tensor, _grid: object
    ) -> None:
        see(rows, layer_of[id(module)], step, output.chunk(half)[-1].float())

    def hooks(rows: slice, done: float) -> AbstractContextManager[object]:
        seen = partial(visit, rows, step_at(done, steps))
        return visited_cross_attention(backbone.unet, modules, seen)

    for start in track(range(0, len(runs), chunk), description):
        some = runs[start : start + chunk]
        noise = torch.stack([initial_noise(key, k, shape, domain=LEARNING) for key, _, k in some])
        embeds = backbone.encode_prompts([text for _, text, _ in some])
        sampling(backbone, noise, embeds, partial(hooks, slice(start, start + len(some))))
