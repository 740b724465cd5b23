"""Noise schedule formulas against the schedulers of diffusers."""

import pytest
import torch
from diffusers import DDIMScheduler

from hspace_exp.errors import UserError
from hspace_exp.models.diffusion import add_noise, noise_prediction, training_target


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
