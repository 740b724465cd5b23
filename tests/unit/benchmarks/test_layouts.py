"""Published shapes: as many parameters as published, and tiny pipelines with the same blocks."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from benchmarks.layouts import LAYOUTS, tiny

CLIP_L, CLIP_H, CLIP_G = 123_060_480, 340_387_840, 694_659_840
PUBLISHED = {
    "sd14": (859_520_964, 83_653_863, [CLIP_L], 512),
    "sd21": (865_910_724, 83_653_863, [CLIP_H], 768),
    "sdxl": (2_567_463_684, 83_653_863, [CLIP_L, CLIP_G], 1024),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_full_layouts_have_the_published_numbers_of_parameters(name: str) -> None:
    layout = LAYOUTS[name]
    with torch.device("meta"):
        classes = (CLIPTextModel, CLIPTextModelWithProjection)
        texts = [cls(CLIPTextConfig(**text)) for cls, text in zip(classes, layout.texts, strict=False)]
        modules = [UNet2DConditionModel(**layout.unet), AutoencoderKL(**layout.vae), *texts]
    unet, vae, *encoders = (sum(p.numel() for p in module.parameters()) for module in modules)
    assert (unet, vae, encoders, layout.image_size) == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_tiny_layouts_keep_the_blocks(name: str) -> None:
    full, small = LAYOUTS[name], tiny(LAYOUTS[name])
    for key in ("down_block_types", "mid_block_type", "up_block_types", "layers_per_block"):
        assert small.unet[key] == full.unet[key]
    assert small.unet.get("use_linear_projection") == full.unet.get("use_linear_projection")
    assert (small.scheduler, small.pipeline, small.pads) == (full.scheduler, full.pipeline, full.pads)
    assert small.image_size == 128
    assert sum(p.numel() for p in UNet2DConditionModel(**small.unet).parameters()) < 1_000_000
