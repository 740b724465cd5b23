"""The training forward pass is the U-Net's own, but for the two disturbances that it names."""

import torch
from diffusers import UNet2DConditionModel

from avatars_world.architecture import TEXT_WIDTH, build_unet
from avatars_world.train.unet import TrainingUNet, sample_timesteps


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(2, 16, 16, 16, generator=generator),
        torch.tensor([10, 900]),
        torch.randn(2, 24, TEXT_WIDTH, generator=generator),
    )


def unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return build_unet().eval()


def test_undisturbed_pass_is_the_vanilla_one() -> None:
    model = unet()
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
