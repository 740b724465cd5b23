"""Sampling with a transformer against diffusers' own pipeline for it."""

from typing import Any

import pytest
import torch
from diffusers import PixArtAlphaPipeline

from avatars_world.architecture import build_transformer
from avatars_world.evaluate import generated
from hspace_exp.avatars import EMBEDDED
from hspace_exp.avatars.probe import load_probe
from hspace_exp.models.backbone import Backbone, load_backbone

PROMPTS, SEEDS = ["a photo of a doctor", "a photo of an old woman", "a photo of a nurse"], [0, 1, 1]


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone(EMBEDDED, device="cpu", guidance_scale=3.0)


@pytest.fixture(scope="module")
def transformer() -> Any:
    torch.manual_seed(0)
    model: Any = build_transformer("tiny").eval()
    for parameter in model.parameters():  # it starts from zero, and would give the same for every prompt
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def measured(backbone: Backbone, transformer: Any) -> Backbone:
    return Backbone(transformer, backbone.vae, backbone.prompt_encoder, backbone.scheduler, guidance_scale=3.0)


@pytest.mark.filterwarnings("ignore")
def test_images_are_those_of_diffusers_pipeline(
    backbone: Backbone, measured: Backbone, transformer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generated, "STEPS", 3)
    ours = generated.generate(measured, PROMPTS, SEEDS)
    pipe: Any = PixArtAlphaPipeline(
        tokenizer=None, text_encoder=None, vae=backbone.vae, transformer=transformer, scheduler=backbone.scheduler
    )
    pipe.set_progress_bar_config(disable=True)
    full, empty = (backbone.encode_prompts(some).encoder_hidden_states for some in (PROMPTS, [""] * 3))
    theirs = pipe(
        negative_prompt=None,
        prompt_embeds=full,
        prompt_attention_mask=torch.ones(3, 24),
        negative_prompt_embeds=empty,
        negative_prompt_attention_mask=torch.ones(3, 24),
        latents=generated.noise_of(backbone, PROMPTS, SEEDS),
        num_inference_steps=3,
        guidance_scale=3.0,
        height=128,
        width=128,
        use_resolution_binning=False,
        output_type="pt",
    ).images
    torch.testing.assert_close(ours.float(), theirs, rtol=0, atol=2e-3)
    assert (ours[0] - ours[2]).abs().max() > 0.01


def test_batch_size_changes_nothing(measured: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generated, "STEPS", 2)
    whole = generated.generate(measured, PROMPTS, SEEDS)
    parts = generated.generate(measured, PROMPTS, SEEDS, batch=2)
    torch.testing.assert_close(whole, parts, rtol=0, atol=2e-3)


def test_obedience_counts_what_is_named_and_preview_shows_prompts_in_rows() -> None:
    asked: list[tuple[list[str], list[int]]] = []

    def black(prompts: list[str], seeds: list[int]) -> torch.Tensor:
        asked.append((prompts, seeds))
        return torch.zeros(len(prompts), 3, 128, 128)

    shares, images, prompts = generated.obedience(black, {"probe": load_probe(EMBEDDED)}, 40)
    assert len(images) == len(prompts) == 40
    # Black images are all alike, so the probe says the same of each, and is right where that is asked for.
    women = sum("female" in prompt.split() for prompt in prompts) / 40
    assert shares["probe"]["gender"] in (pytest.approx(women), pytest.approx(1 - women))
    assert len(generated.preview(black)) == 64
    prompts, seeds = asked[1]
    assert prompts[:8] == [""] * 8
    assert len(set(prompts)) == 8
    assert seeds[:8] == seeds[8:16]
