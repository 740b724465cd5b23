"""How different images look."""

from __future__ import annotations

from urllib.error import URLError

import pytest
import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.evaluation.perceptual import FeatureDistance, Lpips


class MeanColour:
    """Features are mean colours."""

    name = "colour"

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3)."""
        return images.mean((2, 3))


def test_feature_distance_is_one_minus_the_cosine() -> None:
    a, b = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    a[:, 0], b[0, 0], b[1, 1] = 1, 0.5, 1
    assert FeatureDistance(MeanColour())(a, b).tolist() == pytest.approx([0, 1])


def test_lpips_without_weights_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torchmetrics.image.lpip._NoTrainLpips", refuse)
    with pytest.raises(UserError, match=r"LPIPS' alex weights cannot be had.*use a feature distance"):
        Lpips()


def test_lpips_of_any_weights_is_zero_for_equal_images_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    torch.manual_seed(0)
    network = _NoTrainLpips(net="squeeze", pnet_rand=True)
    monkeypatch.setattr("torchmetrics.image.lpip._NoTrainLpips", lambda **_: network)
    a, b = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    distance = Lpips("squeeze")
    assert distance(a, a).tolist() == [0, 0]
    assert (distance(a, b) > 0).all()
