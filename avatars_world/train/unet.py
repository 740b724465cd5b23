"""Stage ``unet``: the noise predictor and the text encoder, trained together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel

from avatars_world.architecture import build_text_encoder, build_unet
from avatars_world.train.denoising import Training, fit
from avatars_world.train.latents import CaptionPool
from avatars_world.train.loop import save_model

SKIP_DROPOUT = 0.5
H_NOISE = 0.15


class TrainingUNet(nn.Module):
    """The U-Net's own forward pass, with two disturbances that make its bottleneck carry the text.

    The deepest skip connection, the only one that has seen the text, is dropped for some samples (often at high noise,
    never at low noise), and a little noise is added to h, so that h plus a vector still decodes cleanly. No vector or
    edit of any kind is ever shown in training.
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        """Wrap ``unet``; its parameters are shared."""
        super().__init__()
        self.unet = unet

    def forward(
        self, sample: torch.Tensor, t: torch.Tensor, context: torch.Tensor, keep: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        """Predict v.

        Args:
            sample: (B, C, h, w) noisy latents.
            t: (B,) timesteps.
            context: (B, L, D) text states.
            keep: (B, 1, 1, 1) 1 keeps the deepest skip, 0 drops it.
            noise: (B, 1, 1, 1) size of the noise on h, in units of its RMS.
        """
        unet = self.unet
        emb = unet.time_embedding(unet.time_proj(t).to(sample.dtype))
        hidden = unet.conv_in(sample)
        skips: tuple[torch.Tensor, ...] = (hidden,)
        for block in unet.down_blocks:
            if getattr(block, "has_cross_attention", False):
                hidden, more = block(hidden_states=hidden, temb=emb, encoder_hidden_states=context)
            else:
                hidden, more = block(hidden_states=hidden, temb=emb)
            skips += more
        hidden = unet.mid_block(hidden, emb, encoder_hidden_states=context)
        rms = hidden.detach().float().square().mean((1, 2, 3), keepdim=True).sqrt()
        hidden = hidden + (noise * rms * torch.randn_like(hidden, dtype=torch.float32)).to(hidden.dtype)
        skips = (*skips[:-1], skips[-1] * keep.to(hidden.dtype))
        for block in unet.up_blocks:
            count = len(block.resnets)
            hidden = block(hidden_states=hidden, temb=emb, res_hidden_states_tuple=skips[-count:])
            skips = skips[:-count]
        return unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))


def start_models(
    out: Path, tokenizer: Any, device: torch.device, form: str = "h8"
) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """The U-Net and the text encoder, ready to be trained: those in ``out``, or new ones, the U-Net of ``form``."""
    if (out / "unet").exists():
        unet = UNet2DConditionModel.from_pretrained(out / "unet", torch_dtype=torch.float32).to(device)
        text_encoder = CLIPTextModel.from_pretrained(out / "text_encoder", dtype=torch.float32).to(device)
    else:
        unet = build_unet(form).to(device)
        text_encoder = build_text_encoder(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id).to(device)
    return unet.to(memory_format=torch.channels_last).train(), text_encoder.train()


def disturb(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How much the U-Net is disturbed at (B,) timesteps: ``keep`` and ``noise`` of ``TrainingUNet``, (B, 1, 1, 1)."""
    drop = SKIP_DROPOUT * torch.sigmoid((t.float() - 650) / 50)
    keep = (torch.rand(len(t), device=t.device) >= drop).float().view(-1, 1, 1, 1)
    return keep, (H_NOISE * torch.rand(len(t), device=t.device)).view(-1, 1, 1, 1)


def train_unet(
    captions: CaptionPool,
    load_latents: Callable[[], torch.Tensor],
    tokenizer: Any,
    out: Path,
    how: Training,
    *,
    form: str = "h8",
) -> None:
    """Train and save ``out/unet`` and ``out/text_encoder``, going on from what is there; ``form`` is of a new U-Net."""
    torch.manual_seed(how.seed)
    unet, text_encoder = start_models(out, tokenizer, how.device, form)
    model = nn.ModuleDict({"unet": TrainingUNet(unet), "text_encoder": text_encoder})
    fit("unet", model, model["unet"], text_encoder, captions, load_latents, how, disturb)
    save_model(unet, out / "unet")
    save_model(text_encoder, out / "text_encoder")
