"""What the stages ``unet`` and ``dit`` share: noisy latents with captions, the loss, and the loop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from avatars_world.architecture import LATENT_CHANNELS, LATENT_SIZE, NUM_TRAIN_TIMESTEPS, build_scheduler
from avatars_world.train.latents import CaptionPool
from avatars_world.train.loop import Average, Clock, descend, learning_rate, set_learning_rate

CAPTION_DROPOUT = 0.1
HIGH_NOISE_SHARE = 0.3
LATENT_SHAPE = (LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE)
# Timesteps (B,) → what else a denoiser is given in training, a tensor of B rows each.
Disturb = Callable[[Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Training:
    """How a denoiser is trained, whichever it is."""

    device: torch.device
    batch: int
    max_seconds: float
    deadline: float | None = None  # Unix time that cuts ``max_seconds`` short
    peak: float = 1e-3  # learning rate
    max_steps: int | None = None  # ends a rehearsal
    compiled: bool = True
    seed: int = 0  # of new models


def sample_timesteps(count: int, device: torch.device) -> Tensor:
    """Uniform timesteps, with a share of ``HIGH_NOISE_SHARE`` drawn from the noisiest 40 %."""
    uniform = torch.rand(count, device=device)
    high = 0.6 + 0.4 * torch.rand(count, device=device)
    picked = torch.where(torch.rand(count, device=device) < HIGH_NOISE_SHARE, high, uniform)
    return (picked * NUM_TRAIN_TIMESTEPS).long().clamp(max=NUM_TRAIN_TIMESTEPS - 1)


def draw(pool: Tensor, tokens: Tensor, empty: Tensor, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random latents with one of their captions, or the empty one, and a timestep.

    Args:
        pool: (N, C, H, W) latents.
        tokens: (N, captions, L).
        empty: tokens of the empty caption.
        batch: B.

    Returns:
        (B, C, H, W) float32 latents, (B, L) tokens and (B,) timesteps.
    """
    device = pool.device
    picked = torch.randint(len(pool), (batch,), device=device)
    which = torch.randint(tokens.shape[1], (batch,), device=device)
    dropped = torch.rand(batch, 1, device=device) < CAPTION_DROPOUT
    captions = torch.where(dropped, empty, tokens[picked, which]).long()
    t = sample_timesteps(batch, device)
    return pool[picked].float().contiguous(memory_format=torch.channels_last), captions, t


def velocity_loss(predict: Callable[[Tensor], Tensor], latents: Tensor, eps: Tensor, alpha: Tensor) -> Tensor:
    """Mean squared error of v = sqrt(a) eps - sqrt(1 - a) x, predicted from z = sqrt(a) x + sqrt(1 - a) eps.

    Implements appendix D of Salimans & Ho, "Progressive Distillation" (2022), weighted evenly over timesteps.

    Args:
        predict: z (B, C, H, W) → v.
        latents: x, (B, C, H, W).
        eps: (B, C, H, W) standard normal noise.
        alpha: (B,) cumulative alphas of the noise schedule.
    """
    a, s = alpha.sqrt().view(-1, 1, 1, 1), (1 - alpha).sqrt().view(-1, 1, 1, 1)
    return (predict(a * latents + s * eps).float() - (a * eps - s * latents)).square().mean()


def compile_now(loss_of: Callable[..., Tensor], shape: tuple[int, ...], tokens: Tensor, disturb: Disturb) -> None:
    """Call a compiled loss once, forwards and backwards, on B latents of a shape (C, H, W) and their (B, L) tokens."""
    device = tokens.device
    warm = torch.randn(len(tokens), *shape, device=device).contiguous(memory_format=torch.channels_last)
    t = torch.ones(len(tokens), device=device, dtype=torch.long)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        loss_of(warm, tokens, t, *disturb(t)).backward()


def fit(
    name: str,
    model: nn.Module,
    predict: Callable[..., Tensor],
    text_encoder: Any,
    captions: CaptionPool,
    load_latents: Callable[[], Tensor],
    how: Training,
    disturb: Disturb = lambda t: (),
) -> None:
    """Train ``model`` to predict v, and leave the average of its weights in it.

    Compilation comes first, so that ``load_latents`` may wait for an autoencoder that is still being trained.

    Args:
        name: of the stage, for the log.
        model: all that is trained.
        predict: (noisy latents, timesteps, text states, *disturbance) → v; part of ``model``.
        text_encoder: gives the text states; it is trained where it is part of ``model``.
        captions: of the latents.
        load_latents: gives (N, C, H, W) latents on the device.
        how: sizes, times and rates.
        disturb: what ``predict`` is given beside the text.
    """
    device = how.device
    average = Average(model, decay=0.9995)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=how.peak, betas=(0.9, 0.99), weight_decay=0.01, fused=device.type == "cuda"
    )
    alphas = build_scheduler().alphas_cumprod.to(device)

    def loss_of(latents: Tensor, tokens: Tensor, t: Tensor, *disturbance: Tensor) -> Tensor:
        eps = torch.randn_like(latents)
        context = text_encoder(tokens).last_hidden_state
        return velocity_loss(lambda z: predict(z, t, context, *disturbance), latents, eps, alphas[t])

    forward = torch.compile(loss_of) if how.compiled else loss_of
    tokens, empty = captions.tokens.to(device), captions.empty.to(device)
    if how.compiled:
        compile_now(forward, LATENT_SHAPE, empty.long().expand(how.batch, -1).contiguous(), disturb)
        optimizer.zero_grad(set_to_none=True)
        print(f"[{name}] compiled", flush=True)
    pool = load_latents()
    left = how.max_seconds if how.deadline is None else min(how.max_seconds, how.deadline - time.time())
    clock = Clock(left, name, max_steps=how.max_steps)
    smooth = torch.zeros((), device=device)
    for step in clock.steps():
        set_learning_rate(optimizer, learning_rate(clock.progress, how.peak))
        latents, picked, t = draw(pool, tokens, empty, how.batch)
        disturbance = disturb(t)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = forward(latents, picked, t, *disturbance)
        descend(loss, model, optimizer)
        average.update()
        smooth = loss.detach() if step == 0 else smooth.lerp(loss.detach(), 0.02)
        clock.log(loss=smooth, samples=torch.tensor(float(step * how.batch)))
    average.store()
    result = {"steps": clock.step, "samples": clock.step * how.batch, "loss": float(smooth)}
    print(f"[{name}] " + json.dumps(result), flush=True)
