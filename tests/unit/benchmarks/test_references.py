from __future__ import annotations

from collections.abc import Iterator

import pytest
import pywt
import torch

from benchmarks import models, ours, reference_inference
from benchmarks.kept import KeptBatches
from benchmarks.reference_inference import ReleasedInference, low_frequencies
from benchmarks.references import DiscoveringStep, Loop, ReleasedStep
from benchmarks.sections.generation import edited, plain_pipeline
from hspace_exp.errors import UserError
from hspace_exp.methods.frequency import LowFrequency, haar_lowpass
from hspace_exp.methods.learning import Noisy
from hspace_exp.methods.score_matching import ScoreMatching
from hspace_exp.methods.sdid import Denoising
from hspace_exp.methods.steering import AddedVector
from hspace_exp.models.backbone import Backbone

STEPS = 2


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return models.stable_diffusion(torch.device("cpu"), tiny=True)


@pytest.fixture
def graph(backbone: Backbone) -> Iterator[list[bool]]:
    """Whether a graph was built at the first block, for each pass."""
    built: list[bool] = []
    handle = backbone.unet.down_blocks[0].register_forward_hook(
        lambda module, args, output: built.append(output[0].requires_grad)
    )
    yield built
    handle.remove()


def given(step: Loop) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    latents = step.encode_images().float()
    return latents, *step.noise_and_times()


def noisy(step: Loop, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> Noisy:
    neutral, positive = (
        step.backbone.encode_prompts([p]).expand(step.batch) for p in (models.NEUTRAL, models.POSITIVE)
    )
    return Noisy(step.noisy(latents, noise, times), times, neutral, noise, positive=positive)


def test_the_released_step_goes_back_through_the_whole_unet(backbone: Backbone, graph: list[bool]) -> None:
    step = ReleasedStep(backbone, backbone.vae, 2)
    latents, noise, times = given(step)
    latents.requires_grad_()
    step.loss(latents, noise, times).backward()
    assert latents.grad is not None
    assert latents.grad.abs().sum() > 0
    assert graph[-2:] == [False, True]  # the teacher's pass, then the one that learns
    assert all(p.grad is None for p in backbone.unet.parameters())


def test_the_released_step_and_ours_have_the_same_gradient(backbone: Backbone) -> None:
    step = ReleasedStep(backbone, backbone.vae, 2)
    latents, noise, times = given(step)
    loss = step.loss(latents, noise, times)
    loss.backward()
    vector = step.vector.detach().clone().requires_grad_()
    mine = ScoreMatching()(backbone, vector.expand(2, -1, -1, -1), noisy(step, latents, noise, times)).mean()
    mine.backward()
    torch.testing.assert_close(mine, loss)
    torch.testing.assert_close(vector.grad, step.vector.grad, rtol=1e-3, atol=1e-9)


def test_sdids_step_goes_back_to_the_middle_block_only(backbone: Backbone, graph: list[bool]) -> None:
    step = DiscoveringStep(backbone, backbone.vae, 2)
    latents, noise, times = given(step)
    loss = step.loss(latents, noise, times)
    loss.backward()
    assert graph[-1] is False
    vector = torch.zeros(2, *backbone.h_shape, requires_grad=True)
    mine = Denoising()(backbone, vector, noisy(step, latents, noise, times)).mean()
    mine.backward()
    torch.testing.assert_close(mine, loss)
    assert vector.grad is not None
    torch.testing.assert_close(vector.grad.sum(0), step.vector.grad, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("cached", [False, True])
def test_steps_move_the_vector_and_encode_images_unless_they_are_cached(backbone: Backbone, cached: bool) -> None:
    encoded: list[int] = []
    handle = backbone.vae.encoder.register_forward_hook(lambda module, args, output: encoded.append(len(output)))
    step = DiscoveringStep(backbone, backbone.vae, 2, cached=cached)
    for _ in range(3):
        step()
    handle.remove()
    assert encoded == ([2] if cached else [2, 2, 2])
    assert step.vector.abs().max() > 0


def test_kept_batches_give_the_losses_of_fresh_ones(backbone: Backbone) -> None:
    examples = ours.noised(backbone, 2)
    vectors = torch.randn(2, *backbone.h_shape, generator=torch.Generator().manual_seed(3))
    pool = KeptBatches(examples, 2, taught=True)
    drawn = [pool.draw(step) for step in range(4)]
    assert {id(batch) for batch in drawn[:2]} == {id(batch) for batch in drawn[2:]}
    for fresh, kept in zip([examples.draw(0), examples.draw(1)], pool.batches, strict=True):
        for objective in (Denoising(), ScoreMatching()):
            expected, found = (objective(backbone, vectors, batch) for batch in (fresh, kept))
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_wavelets_by_channel_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    h = torch.randn(2, 3, 6, 4, generator=torch.Generator().manual_seed(0))
    made_by, transform = reference_inference.wavelet_of_channel()
    assert made_by == f"PyWavelets {pywt.__version__}"
    torch.testing.assert_close(low_frequencies(h, transform), haar_lowpass(h))
    monkeypatch.setattr(reference_inference, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="expected PyWavelets"):
        reference_inference.wavelet_of_channel()


@torch.no_grad()
def test_the_released_inference_is_ours_but_for_the_half_that_ll_is_taken_from(backbone: Backbone) -> None:
    random = torch.Generator().manual_seed(0)
    noise, vector = (
        torch.randn(2, *backbone.latent_shape, generator=random),
        torch.randn(backbone.h_shape[0], 1, 1, generator=random),
    )
    edit = AddedVector({"female": vector}, 2.0, "both", LowFrequency(1.0, "original", haar_lowpass, branch="both"))
    mine = edited(backbone, edit, noise, models.NEUTRAL, STEPS)
    embeds = backbone.encode_prompts([models.NEUTRAL] * 2)
    own, released = (
        ReleasedInference(backbone, vector, 2.0, 1.0, halves)(noise, embeds, STEPS)
        for halves in ("own", "unconditional")
    )
    torch.testing.assert_close(mine, own, rtol=1e-3, atol=1e-4)
    assert (mine - released).abs().max() > 1e-3


@torch.no_grad()
def test_the_plain_pipeline_makes_our_unedited_images(backbone: Backbone) -> None:
    noise = torch.randn(2, *backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    edit = AddedVector({"female": torch.zeros(backbone.h_shape[0], 1, 1)}, 0.0, "both")
    plain = plain_pipeline(backbone)(
        [models.NEUTRAL] * 2, num_inference_steps=STEPS, latents=noise, output_type="latent"
    ).images
    torch.testing.assert_close(edited(backbone, edit, noise, models.NEUTRAL, STEPS), plain, rtol=1e-3, atol=1e-3)
