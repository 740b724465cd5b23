"""Noise schedule formulas against the schedulers of diffusers, and the choice of samplers."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from hspace_exp.errors import UserError
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.schedulers import Swapped, add_noise, make_scheduler, noise_prediction, training_target


@pytest.fixture(params=["epsilon", "v_prediction"])
def scheduler(request: pytest.FixtureRequest) -> DDIMScheduler:
    return DDIMScheduler(prediction_type=request.param, rescale_betas_zero_snr=request.param == "v_prediction")


def test_formulas_equal_diffusers(scheduler: DDIMScheduler) -> None:
    latents, noise = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
    t = torch.tensor([0, 500, 999])
    a = scheduler.alphas_cumprod
    noisy = add_noise(latents, noise, t, a)
    torch.testing.assert_close(noisy, scheduler.add_noise(latents, noise, t))
    kind = scheduler.config.prediction_type
    target = training_target(latents, noise, t, a, kind)
    torch.testing.assert_close(target, noise if kind == "epsilon" else scheduler.get_velocity(latents, noise, t))
    torch.testing.assert_close(noise_prediction(target, noisy, t, a, kind), noise, atol=1e-5, rtol=1e-5)


def test_unknown_prediction_type_names_the_choices() -> None:
    x = torch.zeros(1, 1, 1, 1)
    with pytest.raises(UserError, match="v_prediction"):
        training_target(x, x, torch.tensor([0]), torch.ones(1), "v-prediction")


@pytest.mark.parametrize("kind", ["native", "ddim", "dpm"])
def test_other_samplers_keep_the_models_schedule(tiny_backbone: Backbone, kind: str) -> None:
    scheduler = make_scheduler(tiny_backbone.scheduler, kind)
    assert scheduler.config.prediction_type == "v_prediction"
    assert scheduler.config.beta_end == 0.012
    assert (scheduler is tiny_backbone.scheduler) == (kind == "native")


def test_unknown_kinds_are_refused(tiny_backbone: Backbone) -> None:
    with pytest.raises(UserError, match="Did you mean 'ddim'"):
        make_scheduler(tiny_backbone.scheduler, "ddin")


def test_measured_images_and_learning_have_schedulers_of_their_own(tiny_backbone: Backbone) -> None:
    swapped = Swapped("dpm")
    measured, learnt = swapped(tiny_backbone.scheduler), swapped.learning(tiny_backbone.scheduler)
    assert type(measured).__name__ == "DPMSolverMultistepScheduler"
    assert learnt is tiny_backbone.scheduler
    assert measured.config.prediction_type == tiny_backbone.scheduler.config.prediction_type


@pytest.mark.parametrize("kinds", [("dmp",), ("ddim", "dmp")])
def test_unknown_kinds_of_a_swap_are_refused(kinds: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="Did you mean 'dpm'"):
        Swapped(*kinds)
