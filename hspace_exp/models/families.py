"""What differs between the networks that predict noise: how they are called, and how their text encoders are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from hspace_exp.models.prompts import PromptEmbeds

# (network, latents (B, C, H, W), prompts, side of the images, guidance scale) → what else the network is given
More = Callable[[Any, Tensor, PromptEmbeds, int, float], dict[str, Any]]


@dataclass(frozen=True)
class Family:
    """Networks of one class."""

    more: More
    texts: str | None = None  # how prompts are encoded, see ``PromptEncoder``; None: as the encoders' classes say
    # Whether the network is FLUX's: 2 x 2 latents are a token, the guidance scale goes in and no second half is run,
    # timesteps are in [0, 1], and sampling steps evenly from 1 before it shifts.
    flux: bool = False


def _unet(network: Any, latents: Tensor, embeds: PromptEmbeds, size: int, scale: float) -> dict[str, Any]:
    added = None
    if embeds.pooled is not None:
        added = {"text_embeds": embeds.pooled.to(latents.dtype), "time_ids": embeds.time_ids}
    return {"added_cond_kwargs": added}


def _pixart(network: Any, latents: Tensor, embeds: PromptEmbeds, size: int, scale: float) -> dict[str, Any]:
    added: dict[str, Tensor | None] = {"resolution": None, "aspect_ratio": None}
    if network.config.use_additional_conditions:
        both = (("resolution", [float(size)] * 2), ("aspect_ratio", [1.0]))
        added = {name: latents.new_tensor([one]).expand(len(latents), -1) for name, one in both}
    return {"added_cond_kwargs": added, "encoder_attention_mask": embeds.attention_mask}


def _sd3(network: Any, latents: Tensor, embeds: PromptEmbeds, size: int, scale: float) -> dict[str, Any]:
    return {"pooled_projections": cast(Tensor, embeds.pooled).to(latents.dtype)}


def _sana(network: Any, latents: Tensor, embeds: PromptEmbeds, size: int, scale: float) -> dict[str, Any]:
    return {"encoder_attention_mask": embeds.attention_mask}


def _flux(network: Any, latents: Tensor, embeds: PromptEmbeds, size: int, scale: float) -> dict[str, Any]:
    count, height, width = len(latents), latents.shape[2] // 2, latents.shape[3] // 2
    places = torch.cartesian_prod(torch.arange(1), torch.arange(height), torch.arange(width))
    return {
        **_sd3(network, latents, embeds, size, scale),
        "guidance": latents.new_full((count,), scale, dtype=torch.float32) if network.config.guidance_embeds else None,
        "img_ids": places.to(latents),
        "txt_ids": latents.new_zeros(embeds.encoder_hidden_states.shape[1], 3),
    }


FAMILIES = {
    "UNet2DConditionModel": Family(_unet),
    "PixArtTransformer2DModel": Family(_pixart),
    "SD3Transformer2DModel": Family(_sd3, "sd3"),
    "SanaTransformer2DModel": Family(_sana, "gemma"),
    "FluxTransformer2DModel": Family(_flux, "flux", flux=True),
}


def family_of(network: Any) -> Family:  # noqa: ANN401 (diffusers' classes)
    """The family of a network, by its class; a U-Net's where that is not known."""
    own = (FAMILIES[kind.__name__] for kind in type(network).__mro__ if kind.__name__ in FAMILIES)
    return next(own, FAMILIES["UNet2DConditionModel"])


def predict(network: Any, latents: Tensor, timesteps: Tensor, embeds: PromptEmbeds, size: int, scale: float) -> Tensor:
    """A network's prediction (B, C, H, W) at latents of its type and (B,) timesteps.

    For images of a ``size``, and for networks that are given their guidance ``scale``.
    """
    family, unit = family_of(network), timestep_unit(network)
    given = {"encoder_hidden_states": embeds.encoder_hidden_states.to(latents.dtype)}
    given |= family.more(network, latents, embeds, size, scale)
    packed = F.pixel_unshuffle(latents, 2).flatten(2).transpose(1, 2) if family.flux else latents
    output: Tensor = network(packed, timestep=timesteps if unit == 1 else timesteps / unit, **given).sample
    if family.flux:
        return _unpacked(output, given["img_ids"])
    return output[:, : latents.shape[1]]  # without the variance that PixArt learns beside


def _unpacked(tokens: Tensor, places: Tensor) -> Tensor:
    """FLUX's tokens (B, N, 4 C) at (N, 3) places as latents (B, C, H, W)."""
    height, width = (int(last) + 1 for last in places.reshape(-1, 3)[-1, 1:])
    return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (height, width)), 2)


def latents_of(args: Sequence[Any], given: Mapping[str, Any]) -> Tensor:
    """The latents (rows, C, H, W) that a pipeline calls its network with."""
    first: Tensor = args[0] if args else given["sample" if "sample" in given else "hidden_states"]
    return _unpacked(first, given["img_ids"]) if "img_ids" in given else first


def texts_of(network: Any) -> dict[str, Any]:  # noqa: ANN401 (diffusers' classes)
    """What ``PromptEncoder`` is told of the network that reads its features."""
    return {"family": family_of(network).texts, "width": getattr(network.config, "joint_attention_dim", 0)}


def timestep_unit(network: Any) -> float:  # noqa: ANN401 (diffusers' classes)
    """By what a pipeline divides the scheduler's timesteps before the network gets them."""
    own = getattr(getattr(network, "config", None), "timestep_scale", 1.0)  # SANA's
    return 1000.0 if family_of(network).flux else 1 / own
