"""What a concept vector is asked to achieve, one class an idea; each frozen U-Net pass is one call."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from hspace_exp.errors import UserError, unknown
from hspace_exp.methods.losses import attenuation, attribute_weight, denoising_loss
from hspace_exp.models.attention import AttentionMargin, max_pool_map, suppress_cross_attention
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit, edit_hspace
from hspace_exp.models.prompts import PromptEmbeds
from hspace_exp.models.split import Encoded, decode

LOSSES = ("reconstruction", "score_matching")
SOURCES = ("map", "margin")


@dataclass(frozen=True)
class Noisy:
    """Noisy latents under the neutral prompt, B rows.

    Attributes:
        latents: (B, C, H, W) z_t.
        timesteps: (B,) t.
        embeds: of the neutral prompts.
        target: (B, C, H, W) what the U-Net was trained to predict there; None where the noise is not known.
        maps: (B, 1, S, S) attribute maps in [0, 1], where the objective needs them.
        positive: of the prompts with the attribute.
        words: of the attribute's words alone.
        encoded: the first half of the U-Net at the latents, where it is kept.
        teacher: (B, C, H, W) the frozen model's prediction under ``positive``, where it is kept.
    """

    latents: Tensor
    timesteps: Tensor
    embeds: PromptEmbeds
    target: Tensor | None = None
    maps: Tensor | None = None
    positive: PromptEmbeds | None = None
    words: PromptEmbeds | None = None
    encoded: Encoded | None = None
    teacher: Tensor | None = None

    def rows(self, part: slice) -> Noisy:
        """Some of the rows."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: _rows(some, part) for name, some in own.items() if some is not None})

    def predict(self, backbone: Backbone, edit: HEdit) -> Tensor:
        """The U-Net's prediction (B, C, H, W) with h edited."""
        if self.encoded is not None:
            return decode(backbone, self.encoded, edit(self.encoded.h), self.embeds)
        with edit_hspace(backbone.unet, edit):
            return backbone.predict(self.latents, self.timesteps, self.embeds)

    def wanted(self, backbone: Backbone, loss: str) -> Tensor:
        """What the prediction is compared with: the training target, or the frozen model's own under ``positive``."""
        if loss == "reconstruction":
            if self.target is None:
                raise UserError("the loss reconstruction needs noised images: use score_matching with states on policy")
            return self.target
        if self.teacher is not None:
            return self.teacher
        if self.positive is None:
            raise UserError("the loss score_matching needs the prompts with the attribute")
        with torch.no_grad():
            return backbone.predict(self.latents, self.timesteps, self.positive)


def _rows(some: Tensor | PromptEmbeds | Encoded, part: slice) -> Any:
    return some[part] if isinstance(some, Tensor) else some.index(part)


class Objective(Protocol):
    """Turns vectors and a noisy batch into one loss a row.

    Attributes:
        needs_maps: whether batches need attribute maps.
        parts: vectors that a concept is learnt as, P; they are joined along the channels.
        passes: U-Net passes of one row, without and with a gradient (a backward pass), the teacher's apart.
    """

    needs_maps: ClassVar[bool]
    parts: ClassVar[int]
    passes: ClassVar[tuple[int, int]]

    @property
    def taught(self) -> bool:
        """Whether the frozen model's own prediction is the target."""

    def __call__(self, backbone: Backbone, vectors: Tensor, batch: Noisy) -> Tensor:
        """Losses (B,) of vectors (B, P C, H, W) or (B, P C, 1, 1)."""

    def found(self, trained: Tensor) -> tuple[Tensor, dict[str, float]]:
        """What is added at inference, (C, ...), of trained parts (P C, ...), and what is worth noting of them."""


class OneVector:
    """What objectives of a single vector a concept have in common."""

    needs_maps: ClassVar[bool] = False
    parts: ClassVar[int] = 1
    passes: ClassVar[tuple[int, int]] = (0, 1)

    @property
    def taught(self) -> bool:
        """Learnt from noise that is known."""
        return False

    def found(self, trained: Tensor) -> tuple[Tensor, dict[str, float]]:
        """The vector as it is."""
        return trained, {}


@dataclass(frozen=True)
class Denoising(OneVector):
    """E ||target - unet(z_t, t, neutral; h + v)||^2. Implements eq. (3) of Li et al. (CVPR 2024)."""

    def __call__(self, backbone: Backbone, vectors: Tensor, batch: Noisy) -> Tensor:
        """Losses (B,)."""
        return denoising_loss(batch.predict(backbone, HEdit(vector=vectors)), batch.wanted(backbone, "reconstruction"))


@dataclass(frozen=True)
class ScoreMatching(OneVector):
    """E ||unet(z_t, t, positive) - unet(z_t, t, neutral; h + v)||^2, the frozen model its own teacher.

    The loss of the code that Shokrolahi et al. (2026) released.
    """

    @property
    def taught(self) -> bool:
        """By the frozen model."""
        return True

    def __call__(self, backbone: Backbone, vectors: Tensor, batch: Noisy) -> Tensor:
        """Losses (B,)."""
        return denoising_loss(batch.predict(backbone, HEdit(vector=vectors)), batch.wanted(backbone, "score_matching"))


@dataclass(frozen=True)
class Localised(OneVector):
    """L_w with attenuated h and suppressed cross-attention. Implements the training of Shokrolahi et al. (2026).

    Attributes:
        beta: W = 1 + beta * map; 0: W = 1.
        sharpness: kappa of m, see ``losses.attenuation``; None keeps h as it is (m = 1).
        scope: cross-attention modules whose output is multiplied by chi; None keeps them (chi = 1).
        source: chi = 1 - ``map``, or from the ``margin`` of attention between the prompt and the attribute's words.
        threshold: tau of the margin.
        loss: ``reconstruction`` as in the paper, or ``score_matching``.
    """

    beta: float = 0.4
    sharpness: float | None = 10.0
    scope: str | None = "final"
    source: str = "map"
    threshold: float = 0.5
    loss: str = "reconstruction"
    needs_maps: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse unknown names."""
        if self.source not in SOURCES:
            raise unknown("source of chi", self.source, SOURCES)
        if self.loss not in LOSSES:
            raise unknown("loss", self.loss, LOSSES)

    @property
    def taught(self) -> bool:
        """By the frozen model, where the loss is ``score_matching``."""
        return self.loss == "score_matching"

    def __call__(self, backbone: Backbone, vectors: Tensor, batch: Noisy) -> Tensor:
        """Losses (B,)."""
        if batch.maps is None:
            raise ValueError("Localised needs attribute maps")
        wanted = batch.wanted(backbone, self.loss)
        _, height, width = backbone.h_shape
        m = None if self.sharpness is None else attenuation(max_pool_map(batch.maps, (height, width)), self.sharpness)
        with ExitStack() as hooks:
            if self.scope is not None:
                hooks.enter_context(suppress_cross_attention(backbone.unet, self._chi(batch, batch.maps), self.scope))
            prediction = batch.predict(backbone, HEdit(vector=vectors, attenuation=m))
        height, width = wanted.shape[-2:]
        weight = attribute_weight(max_pool_map(batch.maps, (height, width)), self.beta)
        return denoising_loss(prediction, wanted, weight)

    def _chi(self, batch: Noisy, maps: Tensor) -> Tensor | AttentionMargin:
        if self.source == "map":
            return 1 - maps
        if batch.words is None:
            raise ValueError("the margin of attention needs the attribute's words")
        return AttentionMargin(
            batch.embeds.content_mask, batch.words.encoder_hidden_states, batch.words.content_mask, self.threshold
        )
