"""Heat of finished latents: against a plain computation, and the same whatever the batches."""

import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.masks.heat import attention_heatmaps, difference_heatmaps, heatmaps, noised
from hspace_exp.models.attention import record_cross_attention
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import ConceptPrompts

WOMAN, PERSON = "a photo of a woman", "a photo of a person"
PROMPTS = ConceptPrompts(positive=WOMAN, neutral=PERSON, words="woman")


@pytest.fixture
def latents() -> torch.Tensor:
    return torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["tiny_backbone", "tiny_epsilon_backbone", "tiny_sdxl_backbone"])
def test_difference_is_that_of_predicted_noise(
    name: str, latents: torch.Tensor, request: pytest.FixtureRequest
) -> None:
    backbone: Backbone = request.getfixturevalue(name)
    found = difference_heatmaps(backbone, latents, WOMAN, PERSON, 7, shares=[0.3, 0.8], repeats=2, batch_size=2)
    assert found.shape == (5, 1, 8, 8)
    row, expected = 3, torch.zeros(8, 8)
    for share, step in ((0.3, 300), (0.8, 800)):
        total = torch.zeros(8, 8)
        for repeat in range(2):
            z_t, t = noised(backbone, latents[row : row + 1], share, repeat, WOMAN, 7, [row])
            assert t.tolist() == [step]
            out = [backbone.predict(z_t, step, backbone.encode_prompts([p])) for p in (WOMAN, PERSON)]
            alpha = backbone.scheduler.alphas_cumprod[step]
            # eps = sqrt(a) v + sqrt(1 - a) z_t, so that z_t cancels in the difference.
            gain = alpha.sqrt() if backbone.prediction_type == "v_prediction" else 1
            total += (gain * (out[0] - out[1])).abs().mean((0, 1))
        expected += total / total.mean() / 2
    torch.testing.assert_close(found[row, 0], expected, rtol=1e-3, atol=1e-4)


def test_noise_follows_the_image_and_not_the_batch(tiny_backbone: Backbone, latents: torch.Tensor) -> None:
    for kind in ("difference", "attention"):
        whole = heatmaps(kind, tiny_backbone, latents, PROMPTS, 7)
        alone = heatmaps(kind, tiny_backbone, latents[3:], PROMPTS, 7, indices=[3, 4])
        torch.testing.assert_close(alone, whole[3:], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(heatmaps(kind, tiny_backbone, latents[3:], PROMPTS, 8, indices=[3, 4]), alone)
    whole = difference_heatmaps(tiny_backbone, latents, WOMAN, PERSON, 7)
    torch.testing.assert_close(difference_heatmaps(tiny_backbone, latents, WOMAN, PERSON, 7, batch_size=3), whole)


def test_same_prompts_differ_nowhere(tiny_backbone: Backbone, latents: torch.Tensor) -> None:
    assert difference_heatmaps(tiny_backbone, latents, WOMAN, WOMAN, 7).abs().max() == 0


def test_attention_is_the_mean_of_recorded_passes(tiny_backbone: Backbone, latents: torch.Tensor) -> None:
    found = attention_heatmaps(tiny_backbone, latents[:2], WOMAN, "woman", 7, shares=[0.2, 0.6])
    mask = tiny_backbone.word_mask(WOMAN, "woman").expand(2, -1)
    planes = []
    for share in (0.2, 0.6):
        z_t, t = noised(tiny_backbone, latents[:2], share, 0, WOMAN, 7, [0, 1])
        with record_cross_attention(tiny_backbone.unet, mask) as record:
            tiny_backbone.predict(z_t, t, tiny_backbone.encode_prompts([WOMAN] * 2))
        planes.append(record.heatmap())
    torch.testing.assert_close(found, torch.stack(planes).mean(0))


def test_wrong_requests(tiny_backbone: Backbone, latents: torch.Tensor) -> None:
    with pytest.raises(UserError, match="Choices: attention, difference"):
        heatmaps("gradient", tiny_backbone, latents, PROMPTS, 7)
    with pytest.raises(UserError, match="one index an image, got 2 for 5"):
        difference_heatmaps(tiny_backbone, latents, WOMAN, PERSON, 7, indices=[0, 1])
    with pytest.raises(UserError, match=r"shares of the schedule in \[0, 1\)"):
        difference_heatmaps(tiny_backbone, latents, WOMAN, PERSON, 7, shares=[1.0])
