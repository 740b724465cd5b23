from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.methods.learning import Noisy
from hspace_exp.methods.lwim import Localised
from hspace_exp.methods.score_matching import ScoreMatching
from hspace_exp.methods.sdid import Denoising
from hspace_exp.models.attention import AttentionMargin, suppress_cross_attention
from hspace_exp.models.backbone import Backbone


def noisy(backbone: Backbone, maps: torch.Tensor | None) -> Noisy:
    random = torch.Generator().manual_seed(0)
    latents, target = torch.randn(2, 3, *backbone.latent_shape, generator=random)
    embeds = backbone.encode_prompts(["a photo of a person"]).expand(3)
    return Noisy(latents, torch.tensor([10, 500, 900]), embeds, target, maps)


def test_denoising_is_the_error_of_the_edited_model(tiny_backbone: Backbone) -> None:
    batch = noisy(tiny_backbone, None)
    zero = Denoising()(tiny_backbone, torch.zeros(3, *tiny_backbone.h_shape), batch)
    plain = tiny_backbone.predict(batch.latents, batch.timesteps, batch.embeds)
    torch.testing.assert_close(zero, (plain - batch.target).square().mean((1, 2, 3)))
    moved = Denoising()(tiny_backbone, torch.ones(3, *tiny_backbone.h_shape), batch)
    assert (moved - zero).abs().min() > 0


def test_empty_maps_make_the_localised_objective_the_plain_one(tiny_backbone: Backbone) -> None:
    vectors = torch.randn(3, *tiny_backbone.h_shape, generator=torch.Generator().manual_seed(1))
    batch = noisy(tiny_backbone, torch.zeros(3, 1, 32, 32))
    plain, localised = (objective(tiny_backbone, vectors, batch) for objective in (Denoising(), Localised()))
    torch.testing.assert_close(plain, localised, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("part", ["beta", "sharpness", "scope"])
def test_each_part_of_the_localised_objective_acts_and_can_be_switched_off(tiny_backbone: Backbone, part: str) -> None:
    maps = torch.zeros(3, 1, 32, 32)
    maps[:, :, 4:20, 8:24] = 1
    vectors = torch.zeros(3, *tiny_backbone.h_shape)
    off = {"beta": 0.0, "sharpness": None, "scope": None}
    on = {"beta": 0.4, "sharpness": 10.0, "scope": "final"}
    batch = noisy(tiny_backbone, maps)
    plain = Denoising()(tiny_backbone, vectors, batch)
    torch.testing.assert_close(Localised(**off)(tiny_backbone, vectors, batch), plain)
    alone = Localised(**{**off, part: on[part]})(tiny_backbone, vectors, batch)
    assert (alone - plain).abs().min() > 0


def test_gradients_reach_the_vectors_and_nothing_else(tiny_backbone: Backbone) -> None:
    vectors = torch.zeros(3, *tiny_backbone.h_shape, requires_grad=True)
    Localised()(tiny_backbone, vectors, noisy(tiny_backbone, torch.ones(3, 1, 32, 32))).sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.abs().sum() > 0
    assert all(p.grad is None for p in tiny_backbone.unet.parameters())


def test_chi_from_the_margin_of_attention_suppresses_by_hand(tiny_backbone: Backbone) -> None:
    words = tiny_backbone.encode_prompts(["woman"]).expand(3)
    batch = replace(noisy(tiny_backbone, torch.zeros(3, 1, 32, 32)), words=words)
    vectors = torch.zeros(3, *tiny_backbone.h_shape)
    neutral = tiny_backbone.encode_prompts(["a photo of a person"])
    mask = neutral.content_mask.expand(3, -1)
    for threshold in (0.0, 0.5, 1.0):
        margin = AttentionMargin(mask, words.encoder_hidden_states, words.content_mask, threshold)
        with suppress_cross_attention(tiny_backbone.unet, margin, "final"):
            prediction = tiny_backbone.predict(batch.latents, batch.timesteps, batch.embeds)
        expected = (prediction - batch.target).square().mean((1, 2, 3))
        objective = Localised(source="margin", threshold=threshold)
        torch.testing.assert_close(objective(tiny_backbone, vectors, batch), expected)
    plain = Denoising()(tiny_backbone, vectors, batch)
    everything = Localised(source="margin", threshold=0.0)(tiny_backbone, vectors, batch)
    nothing = Localised(source="margin", threshold=1.0)(tiny_backbone, vectors, batch)
    torch.testing.assert_close(everything, plain)
    assert (nothing - plain).abs().max() > 0


def test_losses_without_what_they_need_say_so(tiny_backbone: Backbone) -> None:
    batch = noisy(tiny_backbone, None)
    vectors = torch.zeros(3, *tiny_backbone.h_shape)
    with pytest.raises(UserError, match="prompts with the attribute"):
        ScoreMatching()(tiny_backbone, vectors, batch)
    with pytest.raises(UserError, match="noised images"):
        Denoising()(tiny_backbone, vectors, replace(batch, target=None))
    with pytest.raises(UserError, match="Did you mean 'margin'"):
        Localised(source="margn")
