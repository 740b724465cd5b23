"""The training forward pass is the U-Net's own, but for the two disturbances that it names."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from avatars_world.architecture import FORMS, TEXT_WIDTH, build_unet
from avatars_world.train.denoising import sample_timesteps
from avatars_world.train.unet import TrainingUNet


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(2, 16, 16, 16, generator=generator),
        torch.tensor([10, 900]),
        torch.randn(2, 24, TEXT_WIDTH, generator=generator),
    )


def unet(form: str = "h8") -> UNet2DConditionModel:
    torch.manual_seed(0)
    return build_unet(form).eval()


@pytest.mark.parametrize(("form", "shape"), [("h8", (192, 8, 8)), ("h4", (256, 4, 4)), ("h8_wide", (384, 8, 8))])
def test_a_form_is_named_by_its_bottleneck(form: str, shape: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        model = build_unet(form)
    assert (model.config.block_out_channels[-1], *[16 >> len(model.down_blocks) - 1] * 2) == shape
    readers = [name for name, _ in model.named_modules() if name.endswith("attn2")]
    deepest = f"down_blocks.{len(model.down_blocks) - 1}."
    assert all(name.startswith((deepest, "mid_block.")) for name in readers)
    assert len(readers) == 6


@pytest.mark.parametrize("form", FORMS)
def test_undisturbed_pass_is_the_vanilla_one(form: str) -> None:
    model = unet(form)
    sample, t, context = inputs()
    with torch.no_grad():
        vanilla = model(sample, t, context).sample
        own = TrainingUNet(model)(sample, t, context, torch.ones(2, 1, 1, 1), torch.zeros(2, 1, 1, 1))
    assert torch.equal(own, vanilla)


def test_dropped_skip_and_noise_change_only_the_samples_they_name() -> None:
    model = unet()
    sample, t, context = inputs()
    keep = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)
    with torch.no_grad():
        vanilla = model(sample, t, context).sample
        dropped = TrainingUNet(model)(sample, t, context, keep, torch.zeros(2, 1, 1, 1))
        noisy = TrainingUNet(model)(sample, t, context, torch.ones(2, 1, 1, 1), 1 - keep)
    for changed in (dropped, noisy):
        assert torch.allclose(changed[0], vanilla[0], atol=1e-5)
        assert not torch.allclose(changed[1], vanilla[1], atol=1e-3)


def test_timesteps_cover_the_schedule_and_favour_high_noise() -> None:
    torch.manual_seed(0)
    t = sample_timesteps(20_000, torch.device("cpu"))
    assert int(t.min()) < 5
    assert int(t.max()) == 999
    assert abs(float((t >= 600).float().mean()) - (0.7 * 0.4 + 0.3)) < 0.02
