"""Published shapes: as many parameters as published, and tiny pipelines with the same blocks."""

from __future__ import annotations

import diffusers
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

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


@pytest.mark.parametrize(
    ("name", "network", "t5"),
    [
        ("pixart", 610_856_096, 4_762_310_656),
        ("sd3", 2_028_328_000, 4_762_310_656),
        ("flux", 11_901_408_320, 4_762_310_656),
    ],
)
def test_transformers_have_the_published_numbers_of_parameters(name: str, network: int, t5: int) -> None:
    layout = LAYOUTS[name]
    with torch.device("meta"):
        modules = getattr(diffusers, layout.network)(**layout.unet), T5EncoderModel(T5Config(**layout.texts[-1]))
    assert tuple(sum(p.numel() for p in module.parameters()) for module in modules) == (network, t5)


@pytest.mark.parametrize("name", ["pixart", "sd3", "sana", "flux"])
def test_tiny_transformers_differ_in_widths_and_depth_alone(name: str) -> None:
    full, small = LAYOUTS[name], tiny(LAYOUTS[name])
    assert (small.scheduler, small.pipeline, small.pads) == (full.scheduler, full.pipeline, full.pads)
    for key in ("patch_size", "in_channels", "out_channels", "guidance_embeds", "mlp_ratio"):
        assert small.unet.get(key) == full.unet.get(key)
    assert sum(p.numel() for p in getattr(diffusers, small.network)(**small.unet).parameters()) < 1_000_000


@pytest.mark.parametrize("name", PUBLISHED)
def test_tiny_layouts_keep_the_blocks(name: str) -> None:
    full, small = LAYOUTS[name], tiny(LAYOUTS[name])
    for key in ("down_block_types", "mid_block_type", "up_block_types", "layers_per_block"):
        assert small.unet[key] == full.unet[key]
    assert small.unet.get("use_linear_projection") == full.unet.get("use_linear_projection")
    assert (small.scheduler, small.pipeline, small.pads) == (full.scheduler, full.pipeline, full.pads)
    assert small.image_size == 128
    assert sum(p.numel() for p in UNet2DConditionModel(**small.unet).parameters()) < 1_000_000
