"""Noise schedule formulas, and the choice of samplers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import DDIMScheduler

from hspace_exp.config.checks import check_targets
from hspace_exp.errors import UserError
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.schedulers import Swapped, make_scheduler


@pytest.mark.parametrize("name", ["tiny_backbone", "tiny_epsilon_backbone"])
def test_formulas_of_the_forward_process(name: str, request: pytest.FixtureRequest) -> None:
    backbone: Backbone = request.getfixturevalue(name)
    latents, noise, t = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), torch.tensor([0, 500, 999])
    alpha = backbone.scheduler.alphas_cumprod[t].reshape(-1, 1, 1, 1)
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    torch.testing.assert_close(backbone.add_noise(latents, noise, t), noisy)
    v = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    target = backbone.training_target(latents, noise, t)
    torch.testing.assert_close(target, noise if backbone.prediction_type == "epsilon" else v)
    torch.testing.assert_close(backbone.noise_prediction(target, noisy, t), noise, atol=1e-5, rtol=1e-5)


def test_unknown_prediction_type_names_the_choices(tiny_backbone: Backbone) -> None:
    scheduler = DDIMScheduler(prediction_type="sample")
    with pytest.raises(UserError, match="v_prediction"):
        Backbone(tiny_backbone.unet, tiny_backbone.vae, tiny_backbone.prompt_encoder, scheduler)


@pytest.mark.parametrize("kind", ["native", "ddim", "dpm"])
def test_other_samplers_keep_the_models_schedule(tiny_backbone: Backbone, kind: str) -> None:
    scheduler = make_scheduler(tiny_backbone.scheduler, kind)
    assert scheduler.config.prediction_type == "v_prediction"
    assert scheduler.config.beta_end == 0.012
    assert (scheduler is tiny_backbone.scheduler) == (kind == "native")


@pytest.mark.parametrize("target", [make_scheduler, Swapped])
def test_unknown_kinds_are_refused(target: Callable[..., object]) -> None:
    node = {"_target_": f"{target.__module__}.{target.__name__}", "_partial_": True}
    check_targets({**node, "kind": "ddim"}, "scheduler")
    with pytest.raises(UserError, match=r"^scheduler\.kind=ddin: expected 'native', 'ddim' or 'dpm'"):
        check_targets({**node, "kind": "ddin"}, "scheduler")


def test_measured_images_may_have_a_scheduler_of_their_own(tiny_backbone: Backbone) -> None:
    swapped = Swapped("dpm")
    measured = swapped(tiny_backbone.scheduler)
    assert type(measured).__name__ == "DPMSolverMultistepScheduler"
    assert measured.config.prediction_type == tiny_backbone.scheduler.config.prediction_type
