"""Stage ``dit``: a transformer that predicts noise, with the autoencoder and the text encoder of a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import PixArtTransformer2DModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from avatars_world.architecture import build_transformer
from avatars_world.train.denoising import Training, fit
from avatars_world.train.latents import CaptionPool
from avatars_world.train.loop import save_model
from hspace_exp.errors import getting


def load_text(pipeline: Path, device: torch.device) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """The tokenizer and the frozen text encoder, in float32, of a pipeline in diffusers layout.

    Raises UserError: the folder lacks one of them.
    """
    with getting(f"the tokenizer and the text encoder in {pipeline}", "set pipeline=FOLDER, a pipeline of the avatars"):
        tokenizer = CLIPTokenizer.from_pretrained(pipeline, subfolder="tokenizer")
        text_encoder: Any = CLIPTextModel.from_pretrained(
            pipeline, subfolder="text_encoder", dtype=torch.float32, use_safetensors=True
        )
    return tokenizer, text_encoder.to(device).eval().requires_grad_(False)


def load_transformer(folder: Path, device: torch.device) -> PixArtTransformer2DModel:
    """The transformer in ``folder/transformer``, in float32.

    Raises UserError: there is none, or it is damaged.
    """
    with getting(f"the transformer in {folder}", "train it with python -m avatars_world.train --stage dit,save"):
        model: Any = PixArtTransformer2DModel.from_pretrained(
            folder, subfolder="transformer", torch_dtype=torch.float32, use_safetensors=True
        )
    return model.to(device)


def predict(transformer: Any, latents: Tensor, t: Tensor, context: Tensor) -> Tensor:
    """The transformer's output (B, C, H, W) at (B,) timesteps under (B, L, D) text states.

    All L states are read, padding too, as Stable Diffusion's U-Net does; so no mask is given.
    """
    return transformer(latents, encoder_hidden_states=context, timestep=t, return_dict=False)[0]


def train_dit(
    captions: CaptionPool,
    load_latents: Callable[[], Tensor],
    text_encoder: CLIPTextModel,
    out: Path,
    how: Training,
    *,
    size: str = "base",
) -> None:
    """Train and save ``out/transformer``, going on from what is there; ``size`` is of a new transformer."""
    torch.manual_seed(how.seed)
    found = (out / "transformer").exists()
    transformer: Any = load_transformer(out, how.device) if found else build_transformer(size).to(how.device)
    transformer.train()
    print(f"[dit] {sum(p.numel() for p in transformer.parameters())} parameters", flush=True)

    def own(latents: Tensor, t: Tensor, context: Tensor) -> Tensor:
        return predict(transformer, latents, t, context)

    fit("dit", transformer, own, text_encoder, captions, load_latents, how)
    save_model(transformer, out / "transformer")
