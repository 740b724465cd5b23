"""EFA: an attribute's value joins cross-attention where a small network says so (Park et al., ICCV 2025)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from hspace_exp.concepts.concept import WEIGHTS, Concept
from hspace_exp.errors import UserError
from hspace_exp.methods.learning import Noisy, Objective, Training, denoising_loss
from hspace_exp.methods.steering import Application, Steering, strength_of
from hspace_exp.methods.task import Task
from hspace_exp.models.attention import by_head, cross_attention_modules, visited_cross_attention
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit
from hspace_exp.models.prompts import PromptEmbeds
from hspace_exp.models.sampling import Hooks
from hspace_exp.prompts.plan import Item
from hspace_exp.training.loop import train
from hspace_exp.training.noised import NoisedImages
from hspace_rivals.beside import beside_low_frequencies, check, exclusive, rows_of

if TYPE_CHECKING:
    from diffusers.models.attention_processor import Attention

Scope = Literal["quarter", "all"]
# Weight and bias of each of a predictor's convolutions: (R, O, C, 3, 3) and (R, O) of R rows, or of one for all.
Convolutions = Sequence[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class MaskedValues(Objective):
    """The loss of an attention predictor A, on images x+ that show the attribute, noised to x_t.

        ||M (eps - eps(x_t, p_cf; A))||^2 + present mean |A(x_t, p_+)| + outside mean (1 - M) |A(x_t, p_cf)|

    p_cf names another value of the attribute, p_+ the one that is shown; M is the map of x+. A vector is all weights of
    the predictors of all layers, (P, 1, 1); last convolutions start at zero, others as PyTorch's.
    """

    width: PositiveInt = 32
    scope: Scope = "all"
    present: NonNegativeFloat = 1e-3  # lambda_1
    outside: NonNegativeFloat = 1e-3  # lambda_2
    needs_maps: ClassVar[bool] = True
    passes: ClassVar[tuple[int, int]] = (0, 2)

    def start(self, backbone: Backbone, kind: str, random: torch.Generator) -> Tensor:
        """(P, 1, 1)."""
        parts = []
        for module in layers(backbone, self.scope):
            for place, shape in enumerate(_shapes(module, self.width)):
                bound = 0.0 if place == 2 else prod(shape[1:]) ** -0.5
                parts.append(bound * (2 * torch.rand(prod(shape) + shape[0], generator=random) - 1))
        return torch.cat(parts)[:, None, None]

    def __call__(self, backbone: Backbone, vectors: Tensor, batch: Noisy) -> Tensor:
        """Losses (B,) of vectors (B, P, 1, 1). Raises UserError: there are no maps or words of the attribute."""
        if batch.maps is None or batch.words is None or batch.positive is None:
            raise UserError("efa learns from maps and words of an attribute: name attribute.words and a mask")
        modules = layers(backbone, self.scope)
        own = predictors(modules, vectors.flatten(1), self.width)
        edits = [(torch.arange(len(vectors), device=vectors.device), own, last_token(batch.words), 1.0)]
        other: list[Tensor] = []
        with extended(backbone, modules, edits, other):
            prediction = batch.predict(backbone, HEdit())
        shown: list[Tensor] = []
        with extended(backbone, modules, edits, shown):
            backbone.predict(batch.latents, batch.timesteps, batch.positive)
        inside = F.adaptive_max_pool2d(batch.maps, prediction.shape[-2:])
        away = [(1 - F.adaptive_max_pool2d(batch.maps, some.shape[-2:])) * some.abs() for some in other]
        sizes = [torch.stack([one.abs().mean((1, 2, 3)) for one in some]).mean(0) for some in (shown, away)]
        loss = denoising_loss(prediction, batch.training_target(), inside)
        return loss + self.present * sizes[0] + self.outside * sizes[1]

    def found(self, trained: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """The same, and where it belongs."""
        return trained, {"site": WEIGHTS}


@dataclass(frozen=True)
class AttentionPredictors:
    """Learns one predictor a concept and layer; the network stays as it is.

        softmax([Q K^T / sqrt(d), A(z)]) [V, V_a]

    Of the paper there was no more to read than its abstract, the first lines of its released code's manual, and two
    summaries by others; from these: this formula, A of three convolutions with two SiLU between them from a layer's
    features z, V_a = W_v of the value's text, the three terms of the loss, masks in training alone, 16 x 16 layers
    behind h of Stable Diffusion 1.5 (``scope`` = ``quarter``), and that lambda_1 and lambda_2 are to be tuned from high
    values down. There the predictors of an attribute share all but their last convolution, masks are a person's by
    Grounded SAM, the value is drawn at random, and nothing is a strength.

    Our reading: z are what queries are made of; convolutions are 3 x 3, of ``width`` channels; A has one logit a head
    and place; the text is the attribute's word, its last token; terms are means over heads, places and layers; each
    concept has predictors of its own, so that its file says all; M comes from the configured mask provider, pooled by
    maximum; with more than two values they are p_cf in turn; both halves of guidance are edited. With p the softmax's
    share of V_a a layer's heads are (1 - p) h + p V_a; a strength s makes them h + s p (V_a - h), 1 as published.
    """

    optimizer: Callable[[list[Any]], Any]  # makes one for a list of parameters
    width: PositiveInt = 32
    scope: Scope = "all"  # layers: all of cross-attention, or those behind h at a quarter of the latents' side
    present: NonNegativeFloat = 1e-3
    outside: NonNegativeFloat = 1e-3
    batch_size: PositiveInt = 8  # rows a concept and step
    decay: Literal["none", "cosine"] = "none"  # of the learning rate
    timesteps: tuple[int, int] = (0, 1000)
    needs: ClassVar[frozenset[str]] = frozenset({"images", "maps"})
    subjects: ClassVar[Sequence[str]] = ()

    def learn(self, task: Task) -> dict[str, Concept]:
        """Predictors as vectors of weights. Raises UserError: a concept has no other value in its attribute."""
        objective = MaskedValues(self.width, self.scope, self.present, self.outside)
        options: dict[str, Any] = {"batch_size": self.batch_size, "timesteps": self.timesteps}
        training = Training(objective, self.optimizer, "channel", init_std=1.0, decay=self.decay, **options)
        latents, maps = (torch.stack([some[name] for name in task.prompts]) for some in (task.latents, task.maps or {}))
        examples = NoisedImages(task.backbone, task.prompts, latents, maps, seed=task.seed, **options)
        others = {name: [other for other in group if other != name] for group, _ in exclusive(task) for name in group}
        texts = [
            task.prompts[some[row % len(some)]].positive
            for some in (others[name] for name in task.prompts)
            for row in range(self.batch_size)
        ]
        examples.embeds = task.backbone.encode_prompts(texts)
        return train(task, training, examples)


@dataclass(frozen=True)
class ExtendedAttention:
    """h + s p (V_a - h) in each item's rows, with the predictors of its concept."""

    width: PositiveInt = 32  # as in training
    scope: Scope = "all"
    keeps: ClassVar[bool] = False
    composes: ClassVar[bool] = False  # of several values none was trained beside the others

    def steer(self, application: Application, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``, see ``Editor``.

        Raises UserError: an item asks for an unknown concept, a concept has no predictors for this model, or the model
        is a transformer, or that of a pipeline that is being called.
        """
        check(application, backbone, items, "efa edits")
        return beside_low_frequencies(self._hooks, application, backbone, items, guided)

    def _hooks(self, application: Application, backbone: Backbone, guided: bool, items: Sequence[Item]) -> Hooks:
        a, modules = application, layers(backbone, self.scope)
        size = sum(prod(shape) + shape[0] for module in modules for shape in _shapes(module, self.width))
        edits: list[tuple[Tensor, list[Convolutions], Tensor, float]] = []
        for name, rows in rows_of(a, backbone, guided, items).items():
            concept = a.concepts[name]
            if concept.kind != WEIGHTS or concept.vector.numel() != size:
                raise UserError(f"concept {name!r} has no predictors for these layers: train it with method=efa")
            own = predictors(modules, concept.vector.flatten()[None].to(backbone.device), self.width)
            value = last_token(backbone.encode_prompts([a.prompts[name].words]))
            edits.append((rows, own, value, strength_of(a.strength, name)))

        def hooks(done: float) -> AbstractContextManager[object]:
            return extended(backbone, modules, edits) if done in a.window else nullcontext()

        return hooks


def layers(backbone: Backbone, scope: Scope) -> list[Attention]:
    """The modules of cross-attention in a scope. Raises UserError: there are none, or the network is a transformer."""
    if backbone.is_transformer:
        raise UserError("efa knows U-Nets only: use another method for this model, e.g. sdid")
    place = f"up_blocks.{len(backbone.unet.up_blocks) - 3}."
    found = [m for name, m in cross_attention_modules(backbone.unet) if scope == "all" or name.startswith(place)]
    if not found:
        raise UserError(
            "this U-Net has no cross-attention behind h at a quarter of its side: say method.training.scope=all"
        )
    return found


def _shapes(module: Attention, width: int) -> list[tuple[int, ...]]:
    """Shapes of the weights of a predictor's convolutions, each of which has a bias for every output."""
    sides = [module.to_q.in_features, width, width, module.heads]
    return [(out, into, 3, 3) for into, out in pairwise(sides)]


def predictors(modules: Sequence[Attention], numbers: Tensor, width: int) -> list[Convolutions]:
    """Of each layer, from (R, P) numbers."""
    found: list[Convolutions] = []
    first = 0
    for module in modules:
        own = []
        for shape in _shapes(module, width):
            weight = numbers[:, first : first + prod(shape)].unflatten(1, shape)
            first += prod(shape) + shape[0]
            own.append((weight, numbers[:, first - shape[0] : first]))
        found.append(own)
    return found


def predicted(convolutions: Convolutions, x: Tensor) -> Tensor:
    """A (R, heads, H, W) of features x (R, C, H, W)."""
    for place, (weight, bias) in enumerate(convolutions):
        x = F.silu(x) if place else x
        groups = len(weight)
        some = x.flatten(0, 1)[None] if groups > 1 else x
        made = F.conv2d(some, weight.flatten(0, 1), bias.flatten(), padding=1, groups=groups)
        x = made.unflatten(1, (groups, -1))[0] if groups > 1 else made
    return x


def last_token(embeds: PromptEmbeds) -> Tensor:
    """(R, 1, D) features of the last content token of each text."""
    last = embeds.content_mask.shape[1] - 1 - embeds.content_mask.int().flip(1).argmax(1)
    return embeds.encoder_hidden_states[torch.arange(len(last), device=last.device), last][:, None]


def joined(module: Attention, x: Tensor, text: Tensor, logits: Tensor, value: Tensor) -> Tensor:
    """What a value changes in the heads (R, N, heads d): p (V_a - h), of queries' input x and text features.

    ``logits`` are A (R, heads, H, W), ``value`` (R or 1, 1, D) text features.
    """
    query, key, own = (by_head(module, made) for made in (module.to_q(x), module.to_k(text), module.to_v(text)))
    products = query @ key.mT * module.scale
    share = (logits.flatten(2) - products.logsumexp(-1)).sigmoid()[..., None]  # e^A / (e^A + sum e^QK)
    changed = share * (by_head(module, module.to_v(value)) - products.softmax(-1) @ own)
    return changed.transpose(1, 2).flatten(2)


def extended(
    backbone: Backbone,
    modules: Sequence[Attention],
    edits: Sequence[tuple[Tensor, Sequence[Convolutions], Tensor, float]],
    seen: list[Tensor] | None = None,
) -> AbstractContextManager[None]:
    """Let values join attention in (rows, predictors, value, strength) of each of ``edits``; ``seen`` gets all A.

    ``modules`` are the ``layers`` that predictors are of.
    """
    place = {id(module): k for k, module in enumerate(modules)}

    def visit(module: Attention, x: Tensor, text: Tensor, output: Tensor, grid: tuple[int, int]) -> Tensor:
        projection: nn.Linear = module.to_out[0]
        for rows, own, value, strength in edits:
            some = x[rows]
            logits = predicted(own[place[id(module)]], some.float().transpose(1, 2).unflatten(2, grid))
            if seen is not None:
                seen.append(logits)
            change = joined(module, some, text[rows], logits, value.to(text.dtype))
            output = output.index_add(0, rows, strength * F.linear(change.to(output.dtype), projection.weight))
        return output

    return visited_cross_attention(backbone.unet, [("", module) for module in modules], visit)
