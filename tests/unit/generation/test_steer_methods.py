"""``steer`` on diffusers' pipelines makes the images that ``generate`` makes, whatever method made the concepts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from hspace_exp import Concept, steer
from hspace_exp.avatars import CONCEPTS, EMBEDDED
from hspace_exp.concepts.concept import load_concepts
from hspace_exp.generation.generate import sample_chunk
from hspace_exp.generation.request import asked_groups, configured
from hspace_exp.io.seeding import initial_noise
from hspace_exp.models.backbone import Backbone, load_backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.prompts.attributes import kept_by, prompts_of
from hspace_exp.prompts.plan import Item

# Of diffusers' Euler scheduler, with this NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WORDS = {
    "female": ("gender", "a photo of a woman", "woman"),
    "male": ("gender", "a photo of a man", "man"),
    "old": ("age", "a photo of an old person", "old"),
    "young": ("age", "a photo of a young person", "young"),
}
PROMPTS = ["a photo of a doctor", "a photo of a nurse"]
LEARNERS = ["sdid", "sdid_lowfreq", "score_matching", "respodiff", "pca", "h_guidance", "lwim", "focused"]
PARTS = [
    "sdid_published", "lwim_no_lowfreq", "focused_no_adaptive", "focused_no_edit", "focused_no_hold", "focused_no_keep",
    "focused_no_release", "focused_sdid", "focused_window",
]  # fmt: skip


def slow(names: Sequence[str]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


def save(folder: Path, backbone: Backbone, method: str, scale: float) -> Path:
    """Random concepts of two attributes, whose presence lies around what h is."""
    for seed, (name, (attribute, prompt, words)) in enumerate(WORDS.items()):
        random = torch.Generator().manual_seed(seed)
        vector, presence = (scale * torch.randn(backbone.h_shape, generator=random) for _ in range(2))
        prompts = {"positive": prompt, "neutral": "a photo of a person", "words": words}
        classifier = {"scale": [0.5, 1.0, 2.0], "bias": [[0.1, -0.2, 0.0][(seed + k) % 3] for k in range(3)]}
        used = {"classifier": classifier} if method == "h_guidance" else {}
        of = (backbone.name, backbone.revision, backbone.h_shape, method)
        Concept(vector, name, attribute, *of, prompts, used, presence=presence).save(folder / f"{name}.safetensors")
    return folder


def ours(
    backbone: Backbone, folder: Path, target: str, strength: float, steps: int, guidance_scale: float
) -> tuple[Tensor, Tensor]:
    """Edited and unedited images, as the command makes them with ``concepts=folder``."""
    concepts = load_concepts([folder])
    groups = asked_groups(concepts, [concepts[name].attribute for name in target.split("+")])
    method, low = configured(concepts["female"].method, None)
    keep = kept_by(groups) if method.keeps else {}
    edit = replace(method, strength=strength).apply(prompts_of(groups), concepts, keep, low)
    items = [Item(prompt, prompt, seed, target) for seed, prompt in enumerate(PROMPTS)]
    sampling = Sampling(steps, guidance_scale=guidance_scale)
    edited, plain = (sample_chunk(backbone, sampling, items, 0, some) for some in (edit, None))
    return edited, plain


def theirs(pipe: Any, backbone: Backbone, steps: int, guidance_scale: float, **more: Any) -> Tensor:
    """Images (B, 3, S, S) in [0, 1] of the same noises by the pipeline."""
    noises = [initial_noise(prompt, seed, backbone.latent_shape, 0) for seed, prompt in enumerate(PROMPTS)]
    options = {"num_inference_steps": steps, "guidance_scale": guidance_scale, "output_type": "pt", **more}
    side = {"height": backbone.image_size, "width": backbone.image_size}
    return pipe(PROMPTS, latents=torch.stack(noises), **side, **options).images


def load(folder: Path) -> Any:
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def embedded() -> tuple[Any, Backbone]:
    return load(EMBEDDED), load_backbone(EMBEDDED, device="cpu", name="avatars", guidance_scale=3.0)


def same(found: Tensor, expected: Tensor, plain: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
    assert (expected - plain).abs().max() > 0.02


@pytest.mark.parametrize("method", [*LEARNERS, "focused_no_foresight", "focused_no_gate", *slow(PARTS)])
def test_every_method_on_a_tiny_pipeline(tiny_folder: Path, tmp_path: Path, method: str) -> None:
    pipe, backbone = load(tiny_folder), load_backbone(tiny_folder, device="cpu", guidance_scale=6.0)
    folder, strength = save(tmp_path, backbone, method, 3.0), 4.0 if method == "h_guidance" else 1.0
    expected, plain = ours(backbone, folder, "female", strength, 4, 6.0)
    with steer(pipe, {folder / "female.safetensors": strength}) as s:
        found = theirs(pipe, backbone, 4, 6.0)
    same(found, expected, plain)
    method_of, low = configured(method, None)
    if low.paired or (method_of.edit is not None and method != "h_guidance"):
        torch.testing.assert_close(s.unedited.images, plain, atol=1e-4, rtol=0)
    else:
        assert s.unedited is None


@pytest.mark.parametrize("method", [*slow(LEARNERS[:-2]), *LEARNERS[-2:]])
def test_every_method_on_the_embedded_pipeline(embedded: tuple[Any, Backbone], tmp_path: Path, method: str) -> None:
    pipe, backbone = embedded
    folder, strength = save(tmp_path, backbone, method, 1.0), 40.0 if method == "h_guidance" else 1.5
    expected, plain = ours(backbone, folder, "female", strength, 2, 3.0)
    with steer(pipe, {folder / "female.safetensors": strength}):
        same(theirs(pipe, backbone, 2, 3.0), expected, plain)


def test_compositions_on_the_embedded_pipeline(embedded: tuple[Any, Backbone]) -> None:
    pipe, backbone = embedded
    expected, plain = ours(backbone, CONCEPTS, "female+old", 2.5, 3, 3.0)
    with steer(pipe, {CONCEPTS / "old.safetensors": 2.5, CONCEPTS / "female.safetensors": None}) as s:
        same(theirs(pipe, backbone, 3, 3.0), expected, plain)
    torch.testing.assert_close(s.unedited.images, plain, atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", ["focused", *slow(LEARNERS[:-1])])
@pytest.mark.parametrize("family", ["sd14", "sd21", "sdxl"])
def test_published_families(tiny_family: Callable[[str], Path], tmp_path: Path, family: str, method: str) -> None:
    pipe, backbone = load(tiny_family(family)), load_backbone(tiny_family(family), device="cpu", image_size=128)
    folder, strength = save(tmp_path, backbone, method, 2.0), 4.0 if method == "h_guidance" else 1.5
    expected, plain = ours(backbone, folder, "female", strength, 3, 5.0)
    with steer(pipe, {folder / "female.safetensors": strength}):
        same(theirs(pipe, backbone, 3, 5.0), expected, plain)
