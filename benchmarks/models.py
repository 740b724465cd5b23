"""Models to measure: Stable Diffusion 1.4 with random weights, and the embedded one.

Time does not depend on what the weights hold, as long as it is neither zero nor infinite.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from avatars_world.tokenizer import train_tokenizer
from benchmarks import layouts
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.prompts import PromptEncoder

POSITIVE, NEUTRAL = "a photo of a woman", "a photo of a person"
WORDS = f"{POSITIVE} {NEUTRAL} man young old nurse"


def stable_diffusion(device: torch.device, dtype: torch.dtype = torch.float32, tiny: bool = False) -> Backbone:
    """A frozen model of the shape of Stable Diffusion 1.4 (or a toy of its blocks) with random weights.

    Args:
        device: where it is made.
        dtype: of the U-Net and the text encoder; the VAE stays in float32, as ``load_backbone`` leaves it.
        tiny: a toy, for rehearsals on a CPU.
    """
    torch.manual_seed(0)
    layout = layouts.tiny(layouts.LAYOUTS["sd14"]) if tiny else layouts.LAYOUTS["sd14"]
    tokenizer = train_tokenizer([WORDS], max_length=layout.texts[0]["max_position_embeddings"])
    special = {kind: getattr(tokenizer, kind) for kind in ("bos_token_id", "eos_token_id", "pad_token_id")}
    with torch.device(device):
        unet, vae = UNet2DConditionModel(**layout.unet), AutoencoderKL(**layout.vae)
        text = CLIPTextModel(CLIPTextConfig(**{**layout.texts[0], **special}))
    for module in (unet, text):
        cast(module, dtype)
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    return Backbone(unet, vae, PromptEncoder([tokenizer], [text]), scheduler, name="sd14-random")


def resized(backbone: Backbone, image_size: int) -> Backbone:
    """The same weights at another image size."""
    return Backbone(
        backbone.unet,
        backbone.vae,
        backbone.prompt_encoder,
        backbone.scheduler,
        name=backbone.name,
        image_size=image_size,
    )


def vae_as(backbone: Backbone, dtype: torch.dtype) -> Any:
    """A copy of the VAE in another number type, as a pipeline loaded in that type has it."""
    return cast(copy.deepcopy(backbone.vae), dtype)


def in_type(backbone: Backbone, dtype: torch.dtype) -> Backbone:
    """The same model with its U-Net and text encoder in another number type, in place."""
    for module in (backbone.unet, *backbone.prompt_encoder.text_encoders):
        cast(module, dtype)
    backbone.prompt_encoder.clear()
    return backbone


def cast(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """``module.to(dtype)`` without what diffusers says about it."""
    return nn.Module.to(module, dtype)
