"""What differs between the networks that predict noise: how they are called, and how their text encoders are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from hspace_exp.errors import unknown
from hspace_exp.models.prompts import PromptEmbeds

# (network, latents (B, C, H, W) and timesteps (B,), prompts, side of the images, guidance scale) → (B, C, H, W)
Call = Callable[[Any, Tensor, Tensor, PromptEmbeds, int, float], Tensor]


@dataclass(frozen=True)
class Family:
    """Networks of one class."""

    call: Call
    texts: str | None = None  # how prompts are encoded, see ``PromptEncoder``; None: as the encoders' classes say
    guidance_scale: float | None = None  # the usual one; None: that of the text encoders' family
    packs: int = 1  # side of the squares of latents that are one token before any patch of the network's own
    side: int = 128  # of the latents, where the network's file does not say


def _unet(network: Any, latents: Tensor, timesteps: Tensor, embeds: PromptEmbeds, size: int, scale: float) -> Tensor:
    added = None
    if embeds.pooled is not None:
        added = {"text_embeds": embeds.pooled.to(latents.dtype), "time_ids": embeds.time_ids}
    states = embeds.encoder_hidden_states.to(latents.dtype)
    output: Tensor = network(latents, timesteps, encoder_hidden_states=states, added_cond_kwargs=added).sample
    return output


def _pixart(network: Any, latents: Tensor, timesteps: Tensor, embeds: PromptEmbeds, size: int, scale: float) -> Tensor:
    added: dict[str, Tensor | None] = {"resolution": None, "aspect_ratio": None}
    if network.config.use_additional_conditions:
        both = (("resolution", [float(size)] * 2), ("aspect_ratio", [1.0]))
        added = {name: latents.new_tensor([one]).expand(len(latents), -1) for name, one in both}
    output: Tensor = network(
        latents,
        encoder_hidden_states=embeds.encoder_hidden_states.to(latents.dtype),
        timestep=timesteps,
        added_cond_kwargs=added,
        encoder_attention_mask=embeds.attention_mask,
    ).sample
    return output[:, : latents.shape[1]]  # without the variance that PixArt learns beside


def _sd3(network: Any, latents: Tensor, timesteps: Tensor, embeds: PromptEmbeds, size: int, scale: float) -> Tensor:
    output: Tensor = network(
        latents,
        encoder_hidden_states=embeds.encoder_hidden_states.to(latents.dtype),
        pooled_projections=cast(Tensor, embeds.pooled).to(latents.dtype),
        timestep=timesteps,
    ).sample
    return output


def _sana(network: Any, latents: Tensor, timesteps: Tensor, embeds: PromptEmbeds, size: int, scale: float) -> Tensor:
    output: Tensor = network(
        latents,
        encoder_hidden_states=embeds.encoder_hidden_states.to(latents.dtype),
        timestep=timesteps * network.config.timestep_scale,
        encoder_attention_mask=embeds.attention_mask,
    ).sample
    return output[:, : latents.shape[1]]


FAMILIES = {
    "UNet2DConditionModel": Family(_unet),
    "PixArtTransformer2DModel": Family(_pixart),
    "SD3Transformer2DModel": Family(_sd3, "sd3", 7.0),
    "SanaTransformer2DModel": Family(_sana, "gemma", 4.5),
}


def family_of(network: Any) -> Family:  # noqa: ANN401 (diffusers' classes)
    """The family of a network. Raises UserError: its class is none of ``FAMILIES``."""
    name = next((kind.__name__ for kind in type(network).__mro__ if kind.__name__ in FAMILIES), None)
    if name is None:
        raise unknown("class of the network that predicts noise", type(network).__name__, FAMILIES)
    return FAMILIES[name]


def texts_of(network: Any) -> dict[str, Any]:  # noqa: ANN401 (diffusers' classes)
    """What ``PromptEncoder`` is told of the network that reads its features."""
    width = getattr(network.config, "joint_attention_dim", 0)
    return {"family": family_of(network).texts, "width": width}


def timestep_scale(network: Any) -> float:  # noqa: ANN401 (diffusers' classes)
    """By what a pipeline multiplies the scheduler's timesteps before the network gets them."""
    return float(getattr(network.config, "timestep_scale", 1.0))
