"""The shipped weights: plain diffusers runs them, and they stay small."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

import hspace_exp.avatars

WEIGHTS = Path(hspace_exp.avatars.__file__).parent / "weights"


@pytest.mark.filterwarnings("ignore")
def test_plain_stable_diffusion_pipeline_paints_what_the_prompt_says() -> None:
    pipe = StableDiffusionPipeline.from_pretrained(WEIGHTS)
    pipe.set_progress_bar_config(disable=True)
    assert {m.dtype for m in (pipe.unet, pipe.vae, pipe.text_encoder)} == {torch.float32}
    prompts = ["a photo of a nurse in the forest", "a photo of a nurse on the stage"]
    generator = torch.Generator().manual_seed(0)
    images = pipe(prompts, num_inference_steps=4, guidance_scale=3.0, generator=generator, output_type="np").images
    assert images.shape == (2, 128, 128, 3)
    edges = images[:, :, :16].mean((1, 2))
    forest, stage = edges
    assert forest[1] > forest[0]  # greener than red
    assert stage[0] > 2 * stage[1]  # the red curtain
    assert np.isfinite(images).all()


def test_weights_stay_small() -> None:
    sizes = {file.relative_to(WEIGHTS): file.stat().st_size for file in WEIGHTS.rglob("*.safetensors")}
    assert sum(size for place, size in sizes.items() if place.parts[0] != "transformer") <= 40e6
    assert sum(sizes.values()) <= 46e6
    assert max(sizes.values()) <= 16e6
    assert not [f for f in WEIGHTS.rglob("*") if f.suffix in {".bin", ".pt", ".pth", ".ckpt", ".pkl"}]
