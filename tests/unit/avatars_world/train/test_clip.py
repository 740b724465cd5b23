"""The OpenCLIP stage: its loss against a hand-worked case, its frozen image tower against the whole one."""

import math

import torch
from open_clip import CLIP

from avatars_world.train.clip import balanced_sigmoid_loss, clip_config, convolutions


def test_balanced_loss_gives_true_and_false_images_equal_weight() -> None:
    logits = torch.tensor([[2.0], [-1.0], [0.5]])
    truth = torch.tensor([[True], [False], [False]])
    softplus = [math.log1p(math.exp(x)) for x in (-2.0, -1.0, 0.5)]
    expected = softplus[0] + (softplus[1] + softplus[2]) / 2
    assert math.isclose(float(balanced_sigmoid_loss(logits, truth)), expected, rel_tol=1e-6)


def test_convolutions_and_pooling_are_the_image_tower() -> None:
    torch.manual_seed(0)
    model = CLIP(**clip_config(300, 1, 24)["model_cfg"]).eval()  # type: ignore[arg-type]
    images = torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        whole = model.encode_image(images)
        parts = model.visual.attnpool(convolutions(model.visual, images))
    torch.testing.assert_close(parts, whole)
