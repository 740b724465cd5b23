"""How time and memory grow with batch, image size, concepts and professions."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import models, ours
from benchmarks.bench import Bench
from benchmarks.sections.generation import STRENGTH, WEIGHT, edited, native
from hspace_exp.avatars import EMBEDDED
from hspace_exp.generation.generate import generate
from hspace_exp.methods.frequency import LowFrequency, haar_lowpass
from hspace_exp.methods.steering import AddedVector
from hspace_exp.models.backbone import Backbone, load_backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.prompts.plan import plan

STEPS = 10
A_SIZE = 12.0  # seconds that the largest size takes


def measure(bench: Bench) -> None:
    """The embedded model, then training and generation at the shape of Stable Diffusion 1.4."""
    avatars = load_backbone(EMBEDDED, device=str(bench.device))
    for count in bench.of_size((1, 2, 4, 8, 16), (1, 2)):
        batch = bench.of_size(8, 2)
        examples, names = ours.noised(avatars, batch, count), ours.named(count)
        more = {"over": "concepts", "x": count}
        ours.time_training(
            bench, "training step, concepts", avatars, ours.sdid(batch), examples, names, calls=10, **more
        )
    for count in bench.of_size((8, 16, 36), (1, 2)):
        _professions(bench, avatars, count)
    del avatars
    bench.free()
    backbone = models.stable_diffusion(bench.device, torch.bfloat16, bench.tiny)
    usual = backbone.image_size
    for batch in bench.of_size((1, 2, 4, 8, 16, 32), (1, 2)):
        if not _fits(bench, f"batch {batch}"):
            return
        _training(bench, backbone, "batch", batch)
        _generation(bench, backbone, "batch", batch)
    for size in bench.of_size((256, 512, 768, 1024), (64, 128)):
        if not _fits(bench, f"image size {size}"):
            return
        resized = backbone if size == usual else models.resized(backbone, size)
        _training(bench, resized, "image size", 4)
        _generation(bench, resized, "image size", 4)


def _fits(bench: Bench, what: str) -> bool:
    """Whether there is time for one more size; what is measured so far stands."""
    fits = bench.left >= bench.of_size(A_SIZE, 0.0)
    if not fits:
        bench.found.note(f"{what} and all after it were left out: {bench.left:.0f} s were left")
    return fits


def _professions(bench: Bench, backbone: Backbone, count: int) -> None:
    """Unedited images of a study in 20 steps, files included, as the stage generation makes them."""
    names = [f"profession{i}" for i in range(count)]
    items = plan(names, [models.NEUTRAL], bench.of_size(8, 1))
    sampling = Sampling(bench.of_size(20, 2), native, chunk_size=64)

    def make() -> None:
        with tempfile.TemporaryDirectory() as folder:
            generate(backbone, sampling, items, Path(folder))

    more: dict[str, Any] = {"over": "professions", "x": count, "images": len(items)}
    bench.time("images and files, professions", make, calls=1, repeats=2, **more)


def _training(bench: Bench, backbone: Backbone, over: str, batch: int) -> None:
    x = batch if over == "batch" else backbone.image_size
    more: dict[str, Any] = {"over": over, "x": x, "batch": batch}
    examples = ours.noised(backbone, batch)
    ours.time_training(
        bench, f"training step, {over}", backbone, ours.sdid(batch), examples, calls=2, repeats=3, **more
    )


def _generation(bench: Bench, backbone: Backbone, over: str, batch: int) -> None:
    """Latents and images of a batch in a few steps."""
    x, steps = batch if over == "batch" else backbone.image_size, bench.of_size(STEPS, 2)
    noise = torch.randn(batch, *backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    vector = torch.randn(backbone.h_shape[0], 1, 1, generator=torch.Generator().manual_seed(1))
    edit = AddedVector({"female": vector}, STRENGTH, "both", LowFrequency(WEIGHT, "current", haar_lowpass))
    call = partial(edited, backbone, edit, noise, models.NEUTRAL, steps)
    more = {"over": over, "x": x, "batch": batch, "steps": steps, "images": batch}
    bench.time(f"edited latents, {steps} steps, {over}", call, calls=1, repeats=2, **more)
