"""What a concept vector is asked to achieve, one class an idea; each frozen U-Net pass is one call."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from hspace_exp.concepts.losses import attenuation, attribute_weight, denoising_loss
from hspace_exp.masks.maps import max_pool_map
from hspace_exp.models.attention import suppress_cross_attention
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit, edit_hspace
from hspace_exp.models.prompts import PromptEmbeds


@dataclass(frozen=True)
class Noisy:
    """Noised x+ latents under the neutral prompt, B rows.

    Attributes:
        latents: (B, C, H, W) z_t.
        timesteps: (B,) t.
        target: (B, C, H, W) what the U-Net should predict.
        embeds: of the neutral prompts.
        maps: (B, 1, S, S) attribute maps in [0, 1], where the objective needs them.
    """

    latents: Tensor
    timesteps: Tensor
    target: Tensor
    embeds: PromptEmbeds
    maps: Tensor | None = None


class Objective(Protocol):
    """Turns vectors and a noised batch into one loss a row."""

    needs_maps: ClassVar[bool]

    def __call__(self, backbone: Backbone, vectors: Tensor, batch: Noisy) -> Tensor:
        """Losses (B,) of vectors (B, C, H, W) or (B, C, 1, 1)."""


@dataclass(frozen=True)
class Denoising:
    """E ||target - unet(z_t, t, neutral; h + v)||^2. Implements eq. (3) of Li et al. (CVPR 2024)."""

    needs_maps: ClassVar[bool] = False

    def __call__(self, backbone: Backbone, vectors: Tensor, batch: Noisy) -> Tensor:
        """Losses (B,)."""
        with edit_hspace(backbone.unet, HEdit(vector=vectors)):
            prediction = backbone.predict(batch.latents, batch.timesteps, batch.embeds)
        return denoising_loss(prediction, batch.target)


@dataclass(frozen=True)
class LocalisedDenoising:
    """L_w with attenuated h and suppressed cross-attention. Implements the training of Shokrolahi et al. (2026).

    Attributes:
        beta: W = 1 + beta * map.
        sharpness: kappa of m, see ``losses.attenuation``; None keeps h as it is (m = 1).
        scope: cross-attention modules whose output is multiplied by chi = 1 - map; None keeps them (chi = 1).
    """

    beta: float = 0.4
    sharpness: float | None = 10.0
    scope: str | None = "final"
    needs_maps: ClassVar[bool] = True

    def __call__(self, backbone: Backbone, vectors: Tensor, batch: Noisy) -> Tensor:
        """Losses (B,)."""
        if batch.maps is None:
            raise ValueError("LocalisedDenoising needs attribute maps")
        _, height, width = backbone.h_shape
        m = None if self.sharpness is None else attenuation(max_pool_map(batch.maps, (height, width)), self.sharpness)
        with ExitStack() as hooks:
            if self.scope is not None:
                hooks.enter_context(suppress_cross_attention(backbone.unet, 1 - batch.maps, self.scope))
            hooks.enter_context(edit_hspace(backbone.unet, HEdit(vector=vectors, attenuation=m)))
            prediction = backbone.predict(batch.latents, batch.timesteps, batch.embeds)
        height, width = batch.target.shape[-2:]
        weight = attribute_weight(max_pool_map(batch.maps, (height, width)), self.beta)
        return denoising_loss(prediction, batch.target, weight)
