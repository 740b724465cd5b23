"""Edited images against a plain diffusers pipeline, and against inference as released with the paper."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import torch
from torch import Tensor

from benchmarks import models
from benchmarks.bench import Bench
from benchmarks.findings import AT_MOST
from benchmarks.reference_inference import ReleasedInference
from hspace_exp.concepts.method import LowFrequency
from hspace_exp.edits.added import AddedVector
from hspace_exp.frequency import haar_lowpass
from hspace_exp.generation import Sampling
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.plan import Item

PLAIN, RELEASED = 1.02, 3.0
STRENGTH, WEIGHT = 2.0, 0.35
native = partial(make_scheduler, kind="native")


def plain_pipeline(backbone: Backbone) -> Any:  # noqa: ANN401 (a diffusers class)
    """A ``StableDiffusionPipeline`` around the same parts."""
    pipeline = diffusers.StableDiffusionPipeline(
        vae=backbone.vae,
        text_encoder=backbone.prompt_encoder.text_encoders[0],
        tokenizer=backbone.prompt_encoder.tokenizers[0],
        unet=backbone.unet,
        scheduler=backbone.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def edited(backbone: Backbone, edit: AddedVector, noise: Tensor, prompt: str, steps: int) -> Tensor:
    """Latents as ``hspace_exp.generation`` makes them; the unedited ones come along where the edit pairs them."""
    items = [Item(prompt, "", index, "female") for index in range(len(noise))]
    steering = edit(backbone, items, True)
    times = 2 if steering.paired else 1
    sampling = Sampling(steps, native)
    prompts = [prompt] * len(items) * times
    return sampling(backbone, torch.cat([noise] * times), backbone.encode_prompts(prompts), steering.hooks)


def measure(bench: Bench) -> None:
    """Seconds of a batch of latents, from noise; decoding is the same in all, and timed apart."""
    batch, steps = bench.of_size((8, 50), (2, 3))
    backbone = models.stable_diffusion(bench.device, torch.bfloat16, bench.tiny)
    noise = torch.randn(batch, *backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    once: dict[str, Any] = {"calls": 1, "repeats": 3, "batch": batch, "steps": steps}
    pipeline = plain_pipeline(backbone)

    def plain() -> None:
        latents = noise.to(bench.device, backbone.dtype)
        pipeline([models.NEUTRAL] * batch, num_inference_steps=steps, latents=latents, output_type="latent")

    vector = torch.randn(backbone.h_shape[0], 1, 1, generator=torch.Generator().manual_seed(1))
    low = {
        source: LowFrequency(WEIGHT, source, haar_lowpass, branch="both" if source == "original" else None)
        for source in ("current", "original")
    }
    edits = {source: AddedVector({"female": vector}, STRENGTH, "both", some) for source, some in low.items()}
    without = bench.time("plain diffusers", plain, images=batch, **once)
    embeds, sampling = backbone.encode_prompts([models.NEUTRAL] * batch), Sampling(steps, native)
    bench.time("ours, unedited", lambda: sampling(backbone, noise, embeds), images=batch, **once)
    current = bench.time(
        "ours, LL of the edited run",
        lambda: edited(backbone, edits["current"], noise, models.NEUTRAL, steps),
        images=batch,
        **once,
    )
    pairs = bench.time(
        "ours, LL of the unedited run, which is made along",
        lambda: edited(backbone, edits["original"], noise, models.NEUTRAL, steps),
        images=2 * batch,
        **once,
    )
    found = bench.found
    found.note("Latents only, in the U-Net's bf16: decoding is the same for all, and timed apart.")
    found.bar(
        "time of edited images with LL of the edited run against plain diffusers", current / without, PLAIN, AT_MOST
    )
    found.bar(
        "time an image with LL of the unedited run, edited and unedited made together, against plain diffusers",
        pairs / 2 / without,
        PLAIN,
        AT_MOST,
    )
    _released(bench, backbone, vector, noise, pairs)
    _decoding(bench, backbone, noise)


def _released(bench: Bench, backbone: Backbone, vector: Tensor, noise: Tensor, pairs: float) -> None:
    """One call is enough: it takes many times as long. Fewer steps, as time is proportional to them."""
    steps, few = bench.of_size((50, 5), (3, 2))
    reference = ReleasedInference(backbone, vector, STRENGTH, 1.0)
    embeds = backbone.encode_prompts([models.NEUTRAL] * len(noise))
    name = f"released inference, {few} steps"
    with torch.no_grad():
        samples = [seconds * steps / few for seconds in bench.samples(lambda: reference(noise, embeds, few), 1, 2)]
    seconds = bench.found.measure(
        f"{name}, scaled to {steps}", samples, images=len(noise), batch=len(noise), steps=steps
    )
    name = "edited images with LL of the unedited run against the released inference, which recorded it, too"
    bench.found.bar(name, seconds / pairs, RELEASED)
    bench.found.note(f"Wavelets of the released inference: {reference.made_by}, channel by channel on the CPU.")


def _decoding(bench: Bench, backbone: Backbone, noise: Tensor) -> None:
    """What the VAE costs in float32, as it is kept, and in bf16."""
    latents, more = noise.to(bench.device), {"images": len(noise), "batch": len(noise)}
    bench.time("decoding, float32 as ours does", lambda: backbone.decode_latents(latents), calls=1, **more)
    vae = models.vae_as(backbone, torch.bfloat16)
    scaled = latents.to(torch.bfloat16)
    with torch.no_grad():
        bench.time("decoding, bf16", lambda: vae.decode(scaled).sample, calls=1, **more)
