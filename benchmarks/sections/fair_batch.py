"""A fair batch with ``steer`` and ``focused`` against as many plain images: what people wait for, decoding included."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import models
from benchmarks.bench import Bench
from benchmarks.findings import AT_MOST
from benchmarks.sections.generation import plain_pipeline
from hspace_exp import steer
from hspace_exp.avatars import CONCEPTS, EMBEDDED
from hspace_exp.concepts.concept import load_concept
from hspace_exp.models.backbone import Backbone, load_backbone
from hspace_exp.models.hspace import edit_hspace

LIMIT = 1.6
ASKED = ("female", "male")  # in turn
SURE = 20.0  # how far a sample's h lies from the middle, in units of the half distance of the class means
WINDOW = 0.05  # of the batch: how near to one half the share of edited images must be for the bar to be judged


def measure(bench: Bench) -> None:
    """Both models; of the batch, half of the images show already what they are asked for."""
    for name, backbone, batch, steps in _models(bench):
        pipeline = plain_pipeline(backbone)
        pipeline.vae = models.vae_as(backbone, backbone.dtype)
        prompts = ["a photo of a nurse"] * batch
        noise = torch.randn(batch, *backbone.latent_shape, generator=torch.Generator().manual_seed(0))
        given: dict[str, Any] = {"num_inference_steps": steps, "latents": noise.to(bench.device, backbone.dtype)}
        given |= {"output_type": "pt", "guidance_scale": 3.0}

        def plain(pipeline: Any = pipeline, prompts: list[str] = prompts, given: dict[str, Any] = given) -> Any:
            return pipeline(prompts, **given).images

        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            _concepts(Path(folder), backbone, _last_h(backbone, plain)[-batch:])
            files: dict[str | Path, float | None] = {Path(folder) / f"{one}.safetensors": 2.0 for one in ASKED}
            once: dict[str, Any] = {"calls": 1, "repeats": 5, "images": batch, "batch": batch, "steps": steps}
            without = bench.time(f"{name}, plain", plain, **once)
            with steer(pipeline, files, assignment="balanced", method="focused") as steered:
                edited = (plain() != steered.unedited.images).flatten(1).any(1).float().mean().item()
                fair = bench.time(f"{name}, fair batch", plain, edited=edited, **once)
        bench.found.note(f"{name}: {edited:.2f} of {batch} images were edited, {steps} steps.")
        title = f"time of a fair batch against plain images, {name}"
        if abs(edited - 0.5) <= WINDOW or bench.tiny:
            bench.found.bar(title, fair / without, LIMIT, AT_MOST)
        else:
            bench.found.unmeasured(title, LIMIT, AT_MOST)
        del pipeline, backbone
        bench.free()


def _models(bench: Bench) -> Iterator[tuple[str, Backbone, int, int]]:
    """Name, model, batch and steps."""
    gpu = bench.device.type == "cuda"
    embedded = load_backbone(EMBEDDED, device=bench.device.type)
    yield "embedded model", embedded, *bench.of_size((64 if gpu else 16, 20), (4, 2))
    if not gpu and not bench.tiny:
        return  # an hour of float32
    shape = models.stable_diffusion(bench.device, torch.bfloat16 if gpu else torch.float32, bench.tiny)
    for batch in bench.of_size((32, 16), (4,)):  # 32 is the batch of this shape's other readings
        yield f"shape of Stable Diffusion 1.4, {batch} images", shape, batch, bench.of_size(20, 2)


def _last_h(backbone: Backbone, plain: Any) -> Tensor:
    """H of the last step of all rows."""
    states: list[Tensor] = []
    with edit_hspace(backbone.unet, states.append):
        plain()
    return states[-1].float().cpu()


def _concepts(folder: Path, backbone: Backbone, h: Tensor) -> None:
    """Files of all concepts for this model, random, but for which half of the batch shows what it is asked for.

    A readout of h along a random direction tells it, with the middle where half of the images must change.
    """
    generator = torch.Generator().manual_seed(1)
    wanted = torch.tensor([1.0 if row % 2 == 0 else -1.0 for row in range(len(h))])
    found: list[tuple[float, Tensor, Tensor, Tensor]] = []
    for _ in range(8):
        along = torch.randn(backbone.h_shape, generator=generator)
        readout = (h * along).flatten(1).sum(1) / along.square().sum()
        ordered = readout.sort().values
        for middle in (ordered[1:] + ordered[:-1]) / 2:
            share = (wanted * (readout - middle) < 0).float().mean().item()
            found.append((abs(share - 0.5), along, middle, (readout - middle).abs().min() / SURE))
    _, along, middle, gap = min(found, key=lambda one: one[0])
    for file in sorted(CONCEPTS.glob("*.safetensors")):
        one = load_concept(file)
        sign = {"female": 1.0, "male": -1.0}.get(one.name, 0.0)
        noise = torch.randn(backbone.h_shape, generator=generator)
        own: dict[str, Any] = {"vector": sign * along, "presence": (middle + sign * gap) * along}
        if not sign:
            own = {"vector": 0.1 * noise, "presence": h.mean(0) + noise}
        own |= {"model": backbone.name, "revision": "", "h_shape": backbone.h_shape, "method": "focused"}
        replace(one, **own, hyperparameters={}).save(folder / file.name)
