"""Heat of finished latents: against a plain computation, and the same whatever the batches."""

import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.io.seeding import generator
from hspace_exp.masks import heat
from hspace_exp.masks.heat import heatmaps, mean_one, noised
from hspace_exp.models.attention import record_cross_attention
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import ConceptPrompts

WOMAN, PERSON = "a photo of a woman", "a photo of a person"
PROMPTS = ConceptPrompts(positive=WOMAN, neutral=PERSON, words="woman")


@pytest.fixture
def latents() -> torch.Tensor:
    return torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def test_each_image_has_noise_of_its_own_at_each_share(tiny_backbone: Backbone, latents: torch.Tensor) -> None:
    z_t, timesteps = noised(tiny_backbone, latents[:2], WOMAN, 7, [4, 9], 0.35, 1)
    alpha = tiny_backbone.scheduler.alphas_cumprod[350]
    for row, index in enumerate((4, 9)):
        noise = torch.randn(4, 8, 8, generator=generator("heat", 7, WOMAN, index, "0.35", 1))
        torch.testing.assert_close(z_t[row], alpha.sqrt() * latents[row] + (1 - alpha).sqrt() * noise)
    assert timesteps.tolist() == [350, 350]
    assert noised(tiny_backbone, latents[:1], WOMAN, 7, [0], 1.0, 0)[1].tolist() == [999]  # the last there is


def test_heat_is_scaled_image_by_image_to_a_mean_of_one_and_none_stays_none() -> None:
    heat = torch.tensor([[1.0, 3.0], [0.0, 4.0]]).repeat(3, 1, 1)[:, None] * torch.tensor([1.0, 5.0, 0.0]).view(
        3, 1, 1, 1
    )
    expected = torch.tensor([[0.5, 1.5], [0.0, 2.0]])
    assert torch.equal(mean_one(heat), torch.stack([expected, expected, torch.zeros(2, 2)])[:, None])


@pytest.mark.parametrize("name", ["tiny_backbone", "tiny_epsilon_backbone", "tiny_sdxl_backbone"])
def test_difference_is_that_of_predicted_noise(
    name: str, latents: torch.Tensor, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone: Backbone = request.getfixturevalue(name)
    monkeypatch.setattr(heat, "HIGH_NOISE", (0.3, 0.8))
    monkeypatch.setattr(heat, "BATCH_SIZE", 2)
    found = heatmaps("difference", backbone, latents, PROMPTS, 7)
    assert found.shape == (5, 1, 8, 8)
    row, expected = 3, torch.zeros(8, 8)
    for share, step in ((0.3, 300), (0.8, 800)):
        total = torch.zeros(8, 8)
        for repeat in range(2):
            z_t, t = noised(backbone, latents[row : row + 1], WOMAN, 7, [row], share, repeat)
            assert t.tolist() == [step]
            out = [backbone.predict(z_t, step, backbone.encode_prompts([p])) for p in (WOMAN, PERSON)]
            alpha = backbone.scheduler.alphas_cumprod[step]
            # eps = sqrt(a) v + sqrt(1 - a) z_t, so that z_t cancels in the difference.
            gain = alpha.sqrt() if backbone.prediction_type == "v_prediction" else 1
            total += (gain * (out[0] - out[1])).abs().mean((0, 1))
        expected += total / total.mean() / 2
    torch.testing.assert_close(found[row, 0], expected, rtol=1e-3, atol=1e-4)


def test_noise_follows_the_image_and_not_the_batch(
    tiny_backbone: Backbone, latents: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("difference", "attention"):
        whole = heatmaps(kind, tiny_backbone, latents, PROMPTS, 7)
        alone = heatmaps(kind, tiny_backbone, latents[3:], PROMPTS, 7, indices=[3, 4])
        torch.testing.assert_close(alone, whole[3:], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(heatmaps(kind, tiny_backbone, latents[3:], PROMPTS, 8, indices=[3, 4]), alone)
    whole = heatmaps("difference", tiny_backbone, latents, PROMPTS, 7)
    monkeypatch.setattr(heat, "BATCH_SIZE", 3)
    torch.testing.assert_close(heatmaps("difference", tiny_backbone, latents, PROMPTS, 7), whole)


def test_same_prompts_differ_nowhere(tiny_backbone: Backbone, latents: torch.Tensor) -> None:
    same = ConceptPrompts(positive=WOMAN, neutral=WOMAN, words="woman")
    assert heatmaps("difference", tiny_backbone, latents, same, 7).abs().max() == 0


def test_attention_is_the_mean_of_recorded_passes(
    tiny_backbone: Backbone, latents: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heat, "EVERYWHERE", (0.2, 0.6))
    found = heatmaps("attention", tiny_backbone, latents[:2], PROMPTS, 7)
    mask = tiny_backbone.word_mask(WOMAN, "woman").expand(2, -1)
    planes = []
    for share in (0.2, 0.6):
        z_t, t = noised(tiny_backbone, latents[:2], WOMAN, 7, [0, 1], share, 0)
        with record_cross_attention(tiny_backbone.unet, mask) as record:
            tiny_backbone.predict(z_t, t, tiny_backbone.encode_prompts([WOMAN] * 2))
        planes.append(record.heatmap())
    torch.testing.assert_close(found, torch.stack(planes).mean(0))


def test_wrong_requests(tiny_backbone: Backbone, latents: torch.Tensor) -> None:
    with pytest.raises(UserError, match="Choices: attention, difference"):
        heatmaps("gradient", tiny_backbone, latents, PROMPTS, 7)
