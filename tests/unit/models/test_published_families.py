"""Each published family at tiny widths: prompts, sampling and splitting are what diffusers' own pipeline does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from hspace_exp.models.backbone import load_backbone
from hspace_exp.models.hspace import HEdit, edit_hspace
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.models.split import decode, encode
from hspace_exp.training.on_policy import sample_trajectories

# Of diffusers' Euler scheduler, with this NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FAMILIES = ("sd14", "sd21", "sdxl")
PROMPT = "a photo of a woman"
Families = Callable[[str], Path]


def pipeline_of(folder: Path) -> Any:
    """The pipeline as diffusers loads it, quiet."""
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("name", FAMILIES)
def test_prompts_are_encoded_bit_for_bit_as_the_pipeline_does(tiny_family: Families, name: str) -> None:
    pipeline, backbone = pipeline_of(tiny_family(name)), load_backbone(tiny_family(name), device="cpu")
    found = pipeline.encode_prompt(PROMPT, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True)
    ours = backbone.encode_prompts([PROMPT, ""])
    assert torch.equal(ours.encoder_hidden_states, torch.cat(found[:2]))
    assert ours.encoder_hidden_states.shape[1:] == (77, backbone.unet.config.cross_attention_dim)
    if name != "sdxl":
        assert ours.pooled is None
        return
    assert ours.pooled is not None
    assert torch.equal(ours.pooled, torch.cat(found[2:]))
    assert ours.time_ids is not None
    expected = pipeline._get_add_time_ids((128, 128), (0, 0), (128, 128), torch.float32, 24)
    assert torch.equal(ours.time_ids, expected.expand(2, -1))


@pytest.mark.parametrize("name", FAMILIES)
def test_guided_sampling_is_the_pipelines_own(tiny_family: Families, name: str) -> None:
    pipeline, backbone = pipeline_of(tiny_family(name)), load_backbone(tiny_family(name), device="cpu")
    noise = torch.randn(2, *backbone.latent_shape, generator=torch.Generator().manual_seed(3))
    options = {"num_inference_steps": 4, "guidance_scale": 6.0, "output_type": "latent", "height": 128, "width": 128}
    expected = pipeline([PROMPT, "a nurse"], latents=noise.clone(), **options).images
    embeds = backbone.encode_prompts([PROMPT, "a nurse"])
    backbone.guidance_scale = 6.0
    ours = Sampling(4)(backbone, noise, embeds)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    assert type(backbone.scheduler) is type(pipeline.scheduler)


@pytest.mark.parametrize(("name", "h_shape"), [("sd14", (32, 2, 2)), ("sd21", (32, 2, 2)), ("sdxl", (32, 4, 4))])
def test_the_second_half_continues_from_h(tiny_family: Families, name: str, h_shape: tuple[int, ...]) -> None:
    backbone = load_backbone(tiny_family(name), device="cpu")
    assert backbone.h_shape == h_shape
    assert backbone.prediction_type == ("v_prediction" if name == "sd21" else "epsilon")
    latents, t = torch.randn(2, *backbone.latent_shape), torch.tensor([400, 700])
    embeds, edit = backbone.encode_prompts([PROMPT, "a nurse"]), HEdit(vector=torch.randn(h_shape))
    encoded = encode(backbone, latents, t, embeds)
    with edit_hspace(backbone.unet, edit):
        expected = backbone.predict(latents, t, embeds)
    torch.testing.assert_close(decode(backbone, encoded, edit(encoded.h), embeds), expected)
    assert not torch.allclose(expected, backbone.predict(latents, t, embeds), atol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_recorded_states_are_what_the_unet_was_given(
    tiny_family: Families, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, seen = load_backbone(tiny_family(name), device="cpu"), []
    honest = backbone.predict

    def watched(latents: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.append(latents.chunk(2)[1])
        return honest(latents, *rest)

    monkeypatch.setattr(backbone, "predict", watched)
    found = sample_trajectories(backbone, Sampling(4, make_scheduler), [(PROMPT, 0), (PROMPT, 1)], image_seed=0)
    torch.testing.assert_close(found["latents"], torch.stack(seen, dim=1), rtol=0, atol=0)
    assert found["timesteps"].dtype == torch.long
