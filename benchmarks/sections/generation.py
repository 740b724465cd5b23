"""Edited images against a plain diffusers pipeline, and against inference as released with the paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import diffusers
import torch
from torch import Tensor

from benchmarks import models
from benchmarks.bench import Bench
from benchmarks.findings import AT_MOST
from benchmarks.reference_inference import ReleasedInference
from hspace_exp.errors import UserError
from hspace_exp.methods.frequency import LowFrequency, haar_lowpass
from hspace_exp.methods.steering import AddedVector
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Hooks, Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.prompts.plan import Item

PLAIN, RELEASED = 1.02, 3.0
STRENGTH, WEIGHT = 2.0, 0.35
WAVELETS = "PyWavelets, channel by channel"
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
    """Latents as the stage ``generation`` makes them; the unedited ones come first where the edit needs them."""
    items = [Item(prompt, "", index, "female") for index in range(len(noise))]
    sampling, embeds = Sampling(steps, native), backbone.encode_prompts([prompt] * len(items))

    def sample(hooks: Hooks, rows: Tensor | None = None) -> Tensor:
        return sampling(backbone, noise, embeds, hooks)  # all items are asked for something

    return edit(backbone, items, True).sampled(sample, items)


def measure(bench: Bench) -> None:
    """Seconds of a batch of latents, from noise; decoding is the same in all, and timed apart."""
    batch, steps = bench.of_size((8, 50), (2, 3))
    backbone = models.stable_diffusion(bench.device, torch.bfloat16, bench.tiny)
    noise = torch.randn(batch, *backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    once: dict[str, Any] = {"calls": 1, "repeats": 3, "batch": batch, "steps": steps}
    pipeline = plain_pipeline(backbone)

    def plain(steps: int) -> None:
        latents = noise.to(bench.device, backbone.dtype)
        pipeline([models.NEUTRAL] * batch, num_inference_steps=steps, latents=latents, output_type="latent")

    vector = torch.randn(backbone.h_shape[0], 1, 1, generator=torch.Generator().manual_seed(1))
    low = {
        source: LowFrequency(WEIGHT, source, haar_lowpass, branch="both" if source == "original" else None)
        for source in ("current", "original")
    }
    edits = {source: AddedVector({"female": vector}, STRENGTH, "both", some) for source, some in low.items()}

    def ours(source: str, steps: int = steps) -> Tensor:
        return edited(backbone, edits[source], noise, models.NEUTRAL, steps)

    def few(source: str) -> Callable[[], object]:  # kernels are chosen in the first steps: no whole run is needed
        return lambda: ours(source, bench.of_size(3, 2))

    without = bench.time("plain diffusers", lambda: plain(steps), warmup=lambda: plain(3), images=batch, **once)
    name = "ours, LL of the edited run"
    current = bench.time(name, lambda: ours("current"), warmup=few("current"), images=batch, **once)
    name = "ours, LL of the unedited run, which is made along"
    once["repeats"] = 2
    pairs = bench.time(name, lambda: ours("original"), warmup=few("original"), images=2 * batch, **once)
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
    _released(bench, backbone, vector, noise, {"edited": current, "unedited": pairs})
    _decoding(bench, backbone, noise)


def _released(bench: Bench, backbone: Backbone, vector: Tensor, noise: Tensor, seconds_of: Mapping[str, float]) -> None:
    """Against both of ours, by whose LL it takes: the paper's formula, and what the released code computes.

    Few steps are enough: time is proportional to them.
    """
    steps, few = bench.of_size((50, 3), (3, 2))
    names = {
        of: f"edited images with LL of the {of} run against the released inference ({WAVELETS})" for of in seconds_of
    }
    try:
        reference = ReleasedInference(backbone, vector, STRENGTH, 1.0)
    except UserError as error:  # other wavelets would be another reference
        bench.found.note(f"The released inference was not measured: {error}.")
        for name in names.values():
            bench.found.unmeasured(name, RELEASED)
        return
    embeds = backbone.encode_prompts([models.NEUTRAL] * len(noise))
    name = f"released inference, {few} steps"
    with torch.no_grad():
        seconds_of_few = bench.samples(
            lambda: reference(noise, embeds, few), 1, 2, warmup=lambda: reference(noise, embeds, 1)
        )
    samples = [seconds * steps / few for seconds in seconds_of_few]
    seconds = bench.found.measure(
        f"{name}, scaled to {steps}", samples, images=len(noise), batch=len(noise), steps=steps
    )
    for of, own in seconds_of.items():
        bench.found.bar(names[of], seconds / own, RELEASED)
    bench.found.note(
        f"Wavelets of the released inference: {reference.made_by}, channel by channel on the CPU. It makes each image "
        "twice, unedited to record h and edited; with LL of the unedited run ours does, too, in one batch."
    )


def _decoding(bench: Bench, backbone: Backbone, noise: Tensor) -> None:
    """What the VAE costs in float32, as it is kept, and in bf16."""
    latents = noise.to(bench.device)
    more: dict[str, Any] = {"images": len(noise), "batch": len(noise)}
    bench.time("decoding, float32 as ours does", lambda: backbone.decode_latents(latents), calls=1, **more)
    vae = models.vae_as(backbone, torch.bfloat16)
    scaled = latents.to(torch.bfloat16)
    with torch.no_grad():
        bench.time("decoding, bf16", lambda: vae.decode(scaled).sample, calls=1, **more)
