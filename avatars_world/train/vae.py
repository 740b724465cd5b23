"""Stage ``vae``: the f8 KL autoencoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from avatars_world.architecture import IMAGE_SIZE, build_vae
from avatars_world.train.data import Layers
from avatars_world.train.loop import Average, Clock, descend, learning_rate, save_model, set_learning_rate
from hspace_exp.io.atomic import write_json

KL_WEIGHT = 4e-3


def reconstruction_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 / 2 + 20 MSE + a quarter of the L1 of the image gradients; (B, 3, H, W) in [-1, 1] each, returns a scalar."""
    error = output - target
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return 0.5 * error.abs().mean() + 20 * error.square().mean() + 0.25 * edges


def train_vae(
    load_layers: Callable[[], Layers],
    out: Path,
    max_seconds: float,
    *,
    device: torch.device,
    batch: int,
    peak: float = 1e-3,
    max_steps: int | None = None,
    compiled: bool = True,
) -> None:
    """Train and save ``out/vae``, going on from what is there; then write ``out/vae/trained.json``.

    Compilation comes first, so that ``load_layers`` may wait for data that is still being rendered. The last 2 % of
    people and scenes are held out for the PSNR.
    """
    torch.manual_seed(0)
    vae = build_vae()
    if (out / "vae").exists():
        vae = AutoencoderKL.from_pretrained(out / "vae", torch_dtype=torch.float32)
    vae.to(device, memory_format=torch.channels_last)
    average = Average(vae, decay=0.999)
    fused = device.type == "cuda"
    optimizer = torch.optim.AdamW(vae.parameters(), lr=peak, betas=(0.9, 0.99), weight_decay=1e-4, fused=fused)

    def losses(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        posterior = vae.encode(images).latent_dist
        noise = torch.randn_like(posterior.mean)
        output = vae.decode(posterior.mean + posterior.std * noise).sample
        kl = 0.5 * (posterior.mean.square() + posterior.var - 1.0 - posterior.logvar).mean()
        return reconstruction_loss(output.float(), images.float()), kl.float()

    forward = torch.compile(losses) if compiled else losses
    if compiled:
        warm = torch.rand(batch, 3, IMAGE_SIZE, IMAGE_SIZE, device=device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            torch.stack(forward(warm)).sum().backward()
        optimizer.zero_grad(set_to_none=True)
        print("[vae] compiled", flush=True)
    layers = load_layers()
    people, scenes = int(len(layers.rgba) * 0.98), int(len(layers.scenes) * 0.98)
    clock = Clock(max_seconds, "vae", max_steps=max_steps)
    for _ in clock.steps():
        set_learning_rate(optimizer, learning_rate(clock.progress, peak))
        images = layers.compose(
            torch.randint(people, (batch,), device=device), torch.randint(scenes, (batch,), device=device)
        )
        images = (images * 2 - 1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            reconstruction, kl = forward(images)
        descend(reconstruction + KL_WEIGHT * kl, vae, optimizer)
        average.update()
        clock.log(reconstruction=reconstruction.detach(), kl=kl.detach())
    average.store()
    value, scale = held_out_quality(vae, layers, people, scenes)
    vae.register_to_config(scaling_factor=1.0 / scale)
    save_model(vae, out / "vae")
    result = {"held_out_psnr": value, "latent_rms": scale, "steps": clock.step, "batch": batch}
    write_json(out / "vae" / "trained.json", result)
    print("[vae] " + json.dumps(result), flush=True)


@torch.no_grad()
def held_out_quality(vae: AutoencoderKL, layers: Layers, people: int, scenes: int) -> tuple[float, float]:
    """PSNR in dB of images of people and scenes from these numbers on, and the root mean square of their latents."""
    vae.eval()
    device = layers.device
    generator = torch.Generator(device).manual_seed(1)
    squares, variances = [], []
    for _ in range(max(1, min(16, len(layers.rgba) // 64))):
        held = torch.randint(people, len(layers.rgba), (64,), device=device, generator=generator)
        back = torch.randint(scenes, len(layers.scenes), (64,), device=device, generator=generator)
        images = layers.compose(held, back)
        latents = vae.encode(images * 2 - 1).latent_dist.mode()
        output = (vae.decode(latents).sample / 2 + 0.5).clamp(0, 1)
        squares.append((output - images).square().mean())
        variances.append(latents.square().mean())
    return float(-10 * torch.stack(squares).mean().log10()), float(torch.stack(variances).mean().sqrt())
