"""Stage ``unet``: the noise predictor and the text encoder, trained together."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel

from avatars_world.architecture import NUM_TRAIN_TIMESTEPS, build_scheduler, build_text_encoder, build_unet
from avatars_world.train.latents import CaptionPool
from avatars_world.train.loop import Average, Clock, descend, learning_rate, save_model, set_learning_rate

CAPTION_DROPOUT = 0.1
SKIP_DROPOUT = 0.5
H_NOISE = 0.15
HIGH_NOISE_SHARE = 0.3


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


def sample_timesteps(count: int, device: torch.device) -> torch.Tensor:
    """Uniform timesteps, with a share of ``HIGH_NOISE_SHARE`` drawn from the noisiest 40 %."""
    uniform = torch.rand(count, device=device)
    high = 0.6 + 0.4 * torch.rand(count, device=device)
    picked = torch.where(torch.rand(count, device=device) < HIGH_NOISE_SHARE, high, uniform)
    return (picked * NUM_TRAIN_TIMESTEPS).long().clamp(max=NUM_TRAIN_TIMESTEPS - 1)


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


def compile_now(loss_of: Callable[..., torch.Tensor], config: Any, tokens: torch.Tensor) -> None:
    """Call a compiled loss once, forwards and backwards, with a batch as large as the (B, L) tokens."""
    device = tokens.device
    shape = (len(tokens), int(config.in_channels), int(config.sample_size), int(config.sample_size))
    warm = torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last)
    ones = torch.ones(len(tokens), 1, 1, 1, device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        loss_of(warm, tokens, ones.long().flatten(), ones, 0 * ones).backward()


def draw(
    pool: torch.Tensor, tokens: torch.Tensor, empty: torch.Tensor, batch: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random latents with one of their captions, or the empty one, and how much the U-Net is disturbed.

    Args:
        pool: (N, C, H, W) latents.
        tokens: (N, captions, L).
        empty: tokens of the empty caption.
        batch: B.

    Returns:
        latents, (B, L) tokens, (B,) timesteps, (B, 1, 1, 1) whether the deepest skip is kept, and the noise in h.
    """
    device = pool.device
    picked = torch.randint(len(pool), (batch,), device=device)
    which = torch.randint(tokens.shape[1], (batch,), device=device)
    dropped = torch.rand(batch, 1, device=device) < CAPTION_DROPOUT
    captions = torch.where(dropped, empty, tokens[picked, which]).long()
    t = sample_timesteps(batch, device)
    drop = SKIP_DROPOUT * torch.sigmoid((t.float() - 650) / 50)
    keep = (torch.rand(batch, device=device) >= drop).float().view(-1, 1, 1, 1)
    noise = (H_NOISE * torch.rand(batch, device=device)).view(-1, 1, 1, 1)
    latents = pool[picked].float().contiguous(memory_format=torch.channels_last)
    return latents, captions, t, keep, noise


def train_unet(
    captions: CaptionPool,
    load_latents: Callable[[], torch.Tensor],
    tokenizer: Any,
    out: Path,
    max_seconds: float,
    *,
    device: torch.device,
    batch: int,
    deadline: float | None = None,
    peak: float = 1e-3,
    max_steps: int | None = None,
    compiled: bool = True,
    seed: int = 0,
    form: str = "h8",
) -> None:
    """Train and save ``out/unet`` and ``out/text_encoder``, going on from what is there.

    Compilation comes first, so that ``load_latents`` may wait for an autoencoder that is still being trained;
    ``deadline`` (Unix time) cuts ``max_seconds`` short. ``seed`` and ``form`` are of new models.
    """
    torch.manual_seed(seed)
    unet, text_encoder = start_models(out, tokenizer, device, form)
    model = nn.ModuleDict({"unet": TrainingUNet(unet), "text_encoder": text_encoder})
    average = Average(model, decay=0.9995)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=peak, betas=(0.9, 0.99), weight_decay=0.01, fused=device.type == "cuda"
    )
    alphas = build_scheduler().alphas_cumprod.to(device)

    def loss_of(
        latents: torch.Tensor, tokens: torch.Tensor, t: torch.Tensor, keep: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        eps = torch.randn_like(latents)
        a, s = alphas[t].sqrt().view(-1, 1, 1, 1), (1 - alphas[t]).sqrt().view(-1, 1, 1, 1)
        context = text_encoder(tokens).last_hidden_state
        output = model["unet"](a * latents + s * eps, t, context, keep, noise)
        return (output.float() - (a * eps - s * latents)).square().mean()

    forward = torch.compile(loss_of) if compiled else loss_of
    tokens_on_device, empty = captions.tokens.to(device), captions.empty.to(device)
    if compiled:
        compile_now(forward, unet.config, empty.long().expand(batch, -1).contiguous())
        optimizer.zero_grad(set_to_none=True)
        print("[unet] compiled", flush=True)
    pool = load_latents()
    if deadline is not None:
        max_seconds = min(max_seconds, deadline - time.time())
    clock = Clock(max_seconds, "unet", max_steps=max_steps)
    smooth = torch.zeros((), device=device)
    for step in clock.steps():
        set_learning_rate(optimizer, learning_rate(clock.progress, peak))
        example = draw(pool, tokens_on_device, empty, batch)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = forward(*example)
        descend(loss, model, optimizer)
        average.update()
        smooth = loss.detach() if step == 0 else smooth.lerp(loss.detach(), 0.02)
        clock.log(loss=smooth, samples=torch.tensor(float(step * batch)))
    average.store()
    save_model(unet, out / "unet")
    save_model(text_encoder, out / "text_encoder")
    result = {"steps": clock.step, "samples": clock.step * batch, "loss": float(smooth)}
    print("[unet] " + json.dumps(result), flush=True)
