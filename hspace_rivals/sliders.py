"""Concept Sliders: low-rank changes of attention's weights (Gandikota et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from hspace_exp.concepts.concept import WEIGHTS, Concept, load_concept
from hspace_exp.errors import UserError
from hspace_exp.io.atomic import save_safetensors
from hspace_exp.methods.learning import Noisy, Objective, OnPolicy, Training, denoising_loss
from hspace_exp.methods.steering import Application, Steering, strength_of
from hspace_exp.methods.task import Task
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Hooks
from hspace_exp.models.sites import is_transformer
from hspace_exp.prompts.plan import Item
from hspace_exp.training.loop import train
from hspace_exp.training.on_policy import OnPolicyStates
from hspace_rivals.beside import beside_low_frequencies, check, exclusive, rows_of

Layers = Literal["self", "cross", "all"]
_ATTENTIONS = {"self": ("attn1",), "cross": ("attn2",), "all": ("attn1", "attn2")}
# Of each layer, in the network's order: A (…, rank, inputs) and B (…, outputs, rank).
Pairs = Sequence[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class LowRank(Objective):
    """The loss of a slider: ||eps(x_t, c_t; W + B A) - eps*(x_t)||^2, A and B of ``rank`` in each layer.

    A vector is all of A and B, layer by layer, (P, 1, 1). A starts as the released code's, whose entries are uniform of
    variance 1 / inputs, B as zeros.
    """

    rank: PositiveInt = 4
    layers: Layers = "all"
    targets_from_model: ClassVar[bool] = True

    def start(self, backbone: Backbone, kind: str, random: torch.Generator) -> Tensor:
        """(P, 1, 1) of a model that does what the frozen one does."""
        parts = []
        for _, layer in attention_layers(backbone.unet, self.layers):
            bound = (3 / layer.in_features) ** 0.5
            first = torch.rand(self.rank * layer.in_features, generator=random)
            parts += [bound * (2 * first - 1), torch.zeros(layer.out_features * self.rank)]
        return torch.cat(parts)[:, None, None]

    def __call__(self, backbone: Backbone, vectors: Tensor, batch: Noisy) -> Tensor:
        """Losses (B,) of vectors (B, P, 1, 1)."""
        layers, rows = attention_layers(backbone.unet, self.layers), torch.arange(len(vectors), device=vectors.device)
        with adapted(layers, [(rows, pairs(layers, vectors.flatten(1)))]):
            prediction = backbone.predict(batch.latents, batch.timesteps, batch.embeds)
        return denoising_loss(prediction, batch.model_target(backbone))

    def found(self, trained: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """The same, and where it belongs."""
        return trained, {"site": WEIGHTS}


class Directed(OnPolicyStates):
    """States of neutral runs, with the target eps* of each concept as their teacher."""

    def aim(self, groups: Sequence[Sequence[str]], eta: float) -> None:
        """Turn eps(c+) of every concept into eps(c_t) + eta (eps(c+) - eps(c-)); those of a group share their runs."""
        plain, device = [], self.backbone.device
        for rows in self._parts(len(self.times), "what neutral prompts predict"):
            embeds = self.neutral.index(self.prompt[rows].to(device))
            with torch.no_grad():
                plain.append(self.backbone.predict(self.latents[rows], self.times[rows].to(device), embeds).cpu())
        self.asked, neutral, positive = {}, torch.cat(plain), dict(self.teacher)
        for group in groups:
            for name in group:
                self.asked[name] = 1 + len(group)
                others = torch.stack([positive[other] for other in group if other != name]).mean(0)
                self.teacher[name] = neutral[self.used[name]] + eta * (positive[name] - others)

    def passes(self, name: str) -> int:
        """Of one row, before training: eps(c_t), eps(c+), and each eps(c-)."""
        return self.asked[name] * len(self.used[name])


@dataclass(frozen=True)
class TextSliders:
    """A slider of each concept, found from text and the model's own runs alone.

        eps*(x_t) = eps(x_t, c_t) + eta sum_p (eps(x_t, c_+, p) - eps(x_t, c_-, p))

    From the paper: this target, rank 4, x_t partly denoised under the neutral prompt c_t, c_- the opposite of c_+, p
    concepts that are to be preserved; at inference W + s B A, s the slider, and sums of several sliders; nothing in the
    first steps, where the layout is to stay (``method.window``). From the released code: AdamW at 2e-4, constant, 1,000
    steps of batch 1, eta 4; A and B of attention's linear layers, in its settings those of self-attention (``noxattn``)
    together with convolutions; a preserved concept is a word before the subject of every prompt, c_t too, and one p is
    drawn a step; s B A is divided by the rank.

    Our reading: c_- are the other concepts of the attribute, the mean of their predictions where they are several. The
    preserved concepts are ``subjects``: "a photo of a nurse", "… female nurse", "… male nurse", one p a state, as
    in the code. The x_t are states of whole guided runs of the neutral prompt without the slider (the code runs as far
    as a step drawn at random, guided by 3, with it), and the three predictions are made once for each. A model of v is
    trained to eps*'s v, which weighs steps otherwise. No convolutions, and no division by the rank: the stage
    ``calibration`` finds s. Both halves of guidance see the slider, as in a model whose weights are so.
    """

    optimizer: Callable[[list[Any]], Any]  # makes one for a list of parameters
    rank: PositiveInt = 4
    layers: Layers = "all"  # whose weights change: attention among the image's places, of these to the text, or both
    eta: PositiveFloat = 4.0
    batch_size: PositiveInt = 8  # rows a concept and step
    decay: Literal["none", "cosine"] = "none"  # of the learning rate
    timesteps: tuple[int, int] = (0, 1000)  # states in [first, last) are learnt from
    subjects: Sequence[str] = ()  # of the prompts, see ``wordings``; none: the concepts' own prompts
    needs: ClassVar[frozenset[str]] = frozenset({"neutral"})

    def learn(self, task: Task) -> dict[str, Concept]:
        """Sliders as vectors of weights. Raises UserError: a concept has no opposite in its attribute."""
        settings = OnPolicy(["neutral"], self.subjects, kept_bytes=0)
        training = Training(
            LowRank(self.rank, self.layers),
            self.optimizer,
            "channel",
            init_std=1.0,
            batch_size=self.batch_size,
            timesteps=self.timesteps,
            decay=self.decay,
            on_policy=settings,
        )
        groups = [names for names, _ in exclusive(task)]
        runs = {name: [task.runs[name, "neutral"]] for name in task.prompts}
        options: dict[str, Any] = {"batch_size": self.batch_size, "timesteps": self.timesteps, "seed": task.seed}
        states = Directed(task.backbone, task.prompts, runs, settings, **options)
        states.aim(groups, self.eta)
        return train(task, training, states)


@dataclass(frozen=True)
class Sliders:
    """W + s B A of each item's concepts, row by row: a batch holds several targets, and images of several concepts."""

    layers: Layers = "all"  # as in training
    keeps: ClassVar[bool] = False
    composes: ClassVar[bool] = True

    def steer(self, application: Application, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``, see ``Editor``.

        Raises UserError: an item asks for an unknown concept, a concept is no slider of this model, or the model is
        that of a pipeline that is being called.
        """
        check(application, backbone, items, "sliders edit")
        return beside_low_frequencies(self._hooks, application, backbone, items, guided)

    def _hooks(self, application: Application, backbone: Backbone, guided: bool, items: Sequence[Item]) -> Hooks:
        a, device, layers = application, backbone.device, attention_layers(backbone.unet, self.layers)
        rows, edits = rows_of(a, backbone, guided, items), []
        for name in sorted(rows):  # sliders of a row are added up in an order that the names alone decide
            low, strength = of_concept(a.concepts[name], layers), strength_of(a.strength, name)
            scaled = [(one.to(device), strength * other.to(device)) for one, other in low]
            edits.append((rows[name], scaled))

        def hooks(done: float) -> AbstractContextManager[object]:
            return adapted(layers, edits) if done in a.window else nullcontext()

        return hooks


def attention_layers(network: nn.Module, which: Layers) -> list[tuple[str, nn.Linear]]:
    """Linear layers of a network's attention by name, in its own order. Raises UserError: there are none."""
    from diffusers.models.attention_processor import Attention  # seconds, which importing this need not take

    ends = _ATTENTIONS[which]
    own = [(n, m) for n, m in network.named_modules() if isinstance(m, Attention) and n.split(".")[-1] in ends]
    found = [(f"{n}.{k}", layer) for n, m in own for k, layer in m.named_modules() if isinstance(layer, nn.Linear)]
    if not found:
        raise UserError(f"this network has no {which} attention that sliders know: use another method, e.g. sdid")
    return found


def pairs(layers: Sequence[tuple[str, nn.Linear]], numbers: Tensor) -> Pairs:
    """A and B of each layer from (..., P) numbers."""
    sides = [(layer.in_features, layer.out_features) for _, layer in layers]
    rank = numbers.shape[-1] // sum(map(sum, sides))
    parts = numbers.split([rank * side for both in sides for side in both], dim=-1)
    return [
        (one.unflatten(-1, (rank, -1)), other.unflatten(-1, (-1, rank)))
        for one, other in zip(parts[::2], parts[1::2], strict=True)
    ]


def of_concept(concept: Concept, layers: Sequence[tuple[str, nn.Linear]]) -> Pairs:
    """A and B of a concept file. Raises UserError: it has none for these layers."""
    size = sum(layer.in_features + layer.out_features for _, layer in layers)
    if concept.kind != WEIGHTS or concept.vector.numel() % size:
        raise UserError(f"concept {concept.name!r} is no slider of these layers: train it with method=sliders")
    return pairs(layers, concept.vector.flatten())


@contextmanager
def adapted(layers: Sequence[tuple[str, nn.Linear]], edits: Sequence[tuple[Tensor, Pairs]]) -> Iterator[None]:
    """Add B A x to what layers make of x (R, N, inputs), in the rows (long) of each of ``edits``.

    Its A and B are the same for all of these rows, or one a row.
    """

    def after(place: int, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        for rows, low in edits:
            first, second = low[place]
            addition = args[0][rows].float() @ first.mT @ second.mT
            output = output.index_add(0, rows, addition.to(output.dtype))
        return output

    with ExitStack() as hooks:
        for place, (_, layer) in enumerate(layers):
            hooks.callback(layer.register_forward_hook(partial(after, place)).remove)
        yield


def save_for_diffusers(file: Path | str, network: nn.Module, target: Path | str, layers: Layers = "all") -> None:
    """Write the slider of a concept file as ``pipe.load_lora_weights`` of diffusers reads it, at strength 1.

    ``network`` is the pipeline's ``unet`` or ``transformer``; ``pipe.set_adapters(name, s)`` sets another strength.
    """
    own, found = attention_layers(network, layers), {}
    prefix = "transformer" if is_transformer(network) else "unet"
    for (name, _), low in zip(own, of_concept(load_concept(file), own), strict=True):
        for end, matrix in zip("AB", low, strict=True):
            found[f"{prefix}.{name}.lora_{end}.weight"] = matrix.contiguous()
    save_safetensors(Path(target), found, {"format": "pt"})
