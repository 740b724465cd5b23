from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from benchmarks.recording import record_hspace
from experiments.lwim_readings import ours
from hspace_exp.errors import UserError
from hspace_exp.io.seeding import LEARNING, initial_noise
from hspace_exp.methods.learning import Noisy, Training
from hspace_exp.methods.lwim import Localised, chi
from hspace_exp.methods.score_matching import ScoreMatching
from hspace_exp.methods.sdid import Denoising
from hspace_exp.models.attention import AttentionMargin, suppress_cross_attention
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import edit_hspace
from hspace_exp.training.loop import evaluations


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


@pytest.mark.parametrize("pool", ["max", "area"])
def test_the_localised_loss_is_that_of_its_parts_by_hand(tiny_backbone: Backbone, pool: str) -> None:
    maps = torch.zeros(3, 1, 32, 32)
    maps[:, :, 8:16, 16:20] = 1  # half of one place of h, two by one latents
    batch = noisy(tiny_backbone, maps)
    vectors = torch.randn(3, *tiny_backbone.h_shape, generator=torch.Generator().manual_seed(1))
    gain = torch.ones(4, 4)
    gain[1, 2] = 0.6 if pool == "max" else 0.8  # the floor of m, or half-way to it
    weight = torch.full((8, 8), 0.5)
    weight[2:4, 4] = 0.5 + 2.0
    with (
        suppress_cross_attention(tiny_backbone.unet, 1 - maps, "all"),
        edit_hspace(tiny_backbone.unet, lambda h: gain * h + vectors),
    ):
        prediction = tiny_backbone.predict(batch.latents, batch.timesteps, batch.embeds)
    expected = (weight * (prediction - batch.target) ** 2).mean((1, 2, 3))
    objective = Localised(beta=2.0, alpha=0.5, sharpness=7.0, floor=0.6, pool=pool, scope="all")
    torch.testing.assert_close(objective(tiny_backbone, vectors, batch), expected)


def test_evaluations_count_the_teacher_of_a_target_from_the_model() -> None:
    plain, taught = (
        Training(objective, partial(torch.optim.Adam, lr=0.1), batch_size=8)
        for objective in (Localised(), ScoreMatching())
    )
    assert evaluations(plain, 10) == {"forward": 80, "backward": 80}
    assert evaluations(taught, 10) == {"forward": 160, "backward": 80}  # each row once more, without a gradient


def centred(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Timesteps and means of two neutral runs of three steps."""
    monkeypatch.setattr(ours, "RUNS", 2)
    monkeypatch.setattr(ours, "STEPS", 3)
    return ours.neutral_means(backbone)


def test_where_nothing_is_attenuated_the_centred_reading_is_the_usual_one(
    tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    centred(tiny_backbone, monkeypatch)
    vectors = torch.randn(3, *tiny_backbone.h_shape, generator=torch.Generator().manual_seed(1))
    everywhere = torch.ones(3, 1, 32, 32)
    for maps, settings in (
        (torch.zeros_like(everywhere), {}),
        (everywhere, {"floor": 1.0}),
        (everywhere, {"sharpness": None}),
    ):
        batch = noisy(tiny_backbone, maps)
        usual, own = (kind(**settings)(tiny_backbone, vectors, batch) for kind in (Localised, ours.Centred))
        torch.testing.assert_close(own, usual)
    batch = noisy(tiny_backbone, everywhere)
    usual, own = (kind()(tiny_backbone, vectors, batch) for kind in (Localised, ours.Centred))
    assert (own - usual).abs().min() > 1e-6


def test_where_all_is_attenuated_the_centred_h_is_the_mean_of_neutral_runs_and_the_vector(
    tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    timesteps, means = centred(tiny_backbone, monkeypatch)
    assert means.shape == (3, *tiny_backbone.h_shape)
    batch = noisy(tiny_backbone, torch.ones(3, 1, 32, 32))
    vectors, h = torch.randn(2, 3, *tiny_backbone.h_shape, generator=torch.Generator().manual_seed(1))
    nearest = [min(range(3), key=lambda k: abs(float(timesteps[k]) - t)) for t in (10, 500, 900)]
    edit = ours.Centred().edit(tiny_backbone, vectors, torch.zeros(3, 1, *tiny_backbone.h_shape[1:]), batch)
    torch.testing.assert_close(edit(h), means[nearest] + vectors)
    assert len(set(nearest)) > 1


def test_neutral_means_are_of_the_conditional_half_of_seeded_runs(
    tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    timesteps, means = centred(tiny_backbone, monkeypatch)
    noise = torch.stack([initial_noise(ours.PROMPT, k, tiny_backbone.latent_shape, 0, LEARNING) for k in range(2)])
    embeds = tiny_backbone.encode_prompts([ours.PROMPT] * 2)
    with record_hspace(tiny_backbone.unet) as states:  # the first step begins at the noise itself
        tiny_backbone.predict(noise, timesteps[0], embeds)
    torch.testing.assert_close(means[0], states[0].mean(0))


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


def test_a_margin_of_places_is_asked_for_by_name(tiny_backbone: Backbone) -> None:
    words = tiny_backbone.encode_prompts(["woman"]).expand(3)
    batch = replace(noisy(tiny_backbone, torch.zeros(3, 1, 32, 32)), words=words)
    vectors = torch.zeros(3, *tiny_backbone.h_shape)
    losses = []
    for placed in (False, True):
        margin = chi(tiny_backbone, batch, torch.zeros(3, 1, 32, 32), "margin", 0.5, placed)
        assert isinstance(margin, AttentionMargin)
        assert margin == AttentionMargin(
            batch.embeds.content_mask, words.encoder_hidden_states, words.content_mask, 0.5, placed
        )
        with suppress_cross_attention(tiny_backbone.unet, margin, "final"):
            prediction = tiny_backbone.predict(batch.latents, batch.timesteps, batch.embeds)
        losses.append((prediction - batch.target).square().mean((1, 2, 3)))
        found = Localised(source="margin", placed=placed)(tiny_backbone, vectors, batch)
        torch.testing.assert_close(found, losses[-1])
    assert (losses[1] - losses[0]).abs().max() > 0


def test_losses_without_what_they_need_say_so(tiny_backbone: Backbone) -> None:
    batch = noisy(tiny_backbone, None)
    vectors = torch.zeros(3, *tiny_backbone.h_shape)
    with pytest.raises(UserError, match="prompts with the attribute"):
        ScoreMatching()(tiny_backbone, vectors, batch)
    with pytest.raises(UserError, match="noised images"):
        Denoising()(tiny_backbone, vectors, replace(batch, target=None))
    with pytest.raises(ValueError, match="attribute maps"):
        Localised()(tiny_backbone, vectors, batch)
    with pytest.raises(ValueError, match="attribute's words"):
        Localised(source="margin")(tiny_backbone, vectors, replace(batch, maps=torch.zeros(3, 1, 32, 32)))
