from __future__ import annotations

import numpy as np
import pytest
import torch

from hspace_exp.methods.lwim import Localised
from hspace_exp.methods.score_matching import ScoreMatching
from hspace_exp.methods.sdid import Denoising
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit, edit_hspace
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.training.noised import NoisedImages

PROMPTS = {"female": ConceptPrompts(positive="a photo of a woman", neutral="a photo of a person", words="woman")}


def examples(backbone: Backbone) -> NoisedImages:
    random = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 4, *backbone.latent_shape, generator=random)
    maps = torch.randint(0, 256, (1, 4, 1, 32, 32), generator=random, dtype=torch.uint8)
    return NoisedImages(backbone, PROMPTS, latents, maps, batch_size=3)


@pytest.fixture(params=["epsilon", "v_prediction"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """Models of both kinds of prediction."""
    name = "tiny_epsilon_backbone" if request.param == "epsilon" else "tiny_backbone"
    found: Backbone = request.getfixturevalue(name)
    return found


def predicted(backbone: Backbone, batch: object, prompt: str, vectors: torch.Tensor | None) -> np.ndarray:
    """The U-Net by a whole pass, h + v by hand."""
    embeds = backbone.encode_prompts([prompt]).expand(3)
    with torch.no_grad(), edit_hspace(backbone.unet, HEdit() if vectors is None else lambda h: h + vectors):
        return backbone.predict(batch.latents, batch.timesteps, embeds).double().numpy()  # type: ignore[attr-defined]


def test_noisy_latents_and_targets_follow_the_schedule(backbone: Backbone) -> None:
    data = examples(backbone)
    batch = data.draw(2)
    alpha = backbone.scheduler.alphas_cumprod.double().numpy()[batch.timesteps.numpy()].reshape(-1, 1, 1, 1)
    assert batch.target is not None
    target, noisy = batch.target.double().numpy(), batch.latents.double().numpy()
    clean = data.latents[0].double().numpy()
    from_v = np.sqrt(alpha) * target + np.sqrt(1 - alpha) * noisy
    noise = target if backbone.prediction_type == "epsilon" else from_v
    left = noisy - np.sqrt(1 - alpha) * noise
    errors = np.abs(left[:, None] - np.sqrt(alpha)[:, None] * clean[None]).max((2, 3, 4))
    assert (errors.min(1) < 1e-4).all()  # each row is a noised one of the images
    assert 0.8 < noise.std() < 1.2


def test_losses_of_sdid_and_score_matching_are_those_of_numpy(backbone: Backbone) -> None:
    batch = examples(backbone).draw(0)
    vectors = torch.randn(3, *backbone.h_shape, generator=torch.Generator().manual_seed(1))
    student = predicted(backbone, batch, PROMPTS["female"].neutral, vectors)
    assert batch.target is not None
    sdid = ((batch.target.double().numpy() - student) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(Denoising()(backbone, vectors, batch).numpy(), sdid, rtol=1e-4)
    teacher = predicted(backbone, batch, PROMPTS["female"].positive, None)
    matched = ((teacher - student) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(ScoreMatching()(backbone, vectors, batch).numpy(), matched, rtol=1e-4)
    channel = vectors.mean((2, 3), keepdim=True)
    student = predicted(backbone, batch, PROMPTS["female"].neutral, channel)
    matched = ((teacher - student) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(ScoreMatching()(backbone, channel, batch).numpy(), matched, rtol=1e-4)


def test_the_weight_and_attenuation_of_lwim_are_those_of_numpy(backbone: Backbone) -> None:
    batch = examples(backbone).draw(1)
    vectors = torch.randn(3, *backbone.h_shape, generator=torch.Generator().manual_seed(1))
    assert batch.maps is not None
    assert batch.target is not None
    maps = batch.maps.double().numpy()[:, 0]
    at_h = maps.reshape(3, 4, 8, 4, 8).max((2, 4))[:, None]
    at_latents = maps.reshape(3, 8, 4, 8, 4).max((2, 4))[:, None]

    def logistic(x: np.ndarray | float) -> np.ndarray:
        return 1 / (1 + np.exp(-np.asarray(x)))

    m = 1 - (logistic(10 * (at_h - 0.5)) - logistic(-5)) / (logistic(5) - logistic(-5))
    embeds = backbone.encode_prompts([PROMPTS["female"].neutral]).expand(3)
    with torch.no_grad(), edit_hspace(backbone.unet, lambda h: torch.tensor(m).to(h) * h + vectors):
        student = backbone.predict(batch.latents, batch.timesteps, embeds).double().numpy()
    expected = ((1 + 0.4 * at_latents) * (batch.target.double().numpy() - student) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(Localised(scope=None)(backbone, vectors, batch).numpy(), expected, rtol=1e-4)
