"""Feature extractors."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.error import URLError

import pytest
import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.evaluation.features import InceptionFeatures, OpenClipFeatures, SharedClip


class CountingClip:
    """Embeds images by their mean colour and texts by their length; counts calls."""

    def __init__(self) -> None:
        """Start at zero."""
        self.images = self.texts = 0

    def encode_images(self, images: Tensor) -> Tensor:
        """(B, 3) unit vectors."""
        self.images += len(images)
        return torch.nn.functional.normalize(images.mean((2, 3)), dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """(T, 3) unit vectors."""
        self.texts += len(texts)
        return torch.nn.functional.normalize(torch.tensor([[len(t), 1.0, 0.0] for t in texts]), dim=-1)


def test_shared_clip_embeds_the_same_batch_and_text_once() -> None:
    model = CountingClip()
    clip = SharedClip(model)
    batch, other = torch.rand(4, 3, 8, 8), torch.rand(2, 3, 8, 8)
    assert torch.equal(clip.encode_images(batch), clip.encode_images(batch))
    assert model.images == 4
    clip.encode_images(other)
    clip.encode_images(batch.clone())
    assert model.images == 10
    first = clip.encode_texts(["a", "bb", "a"])
    assert model.texts == 2
    assert torch.equal(first, CountingClip().encode_texts(["a", "bb", "a"]))
    clip.encode_texts(["bb", "ccc"])
    assert model.texts == 3


def test_openclip_features_have_unit_mean_square() -> None:
    features = OpenClipFeatures(CountingClip())(torch.rand(4, 3, 8, 8))
    assert torch.allclose(features.square().mean(1), torch.ones(4))


def test_unreachable_inception_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchmetrics.image.fid

    def fail(**_: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr(torchmetrics.image.fid, "NoTrainInceptionV3", fail)
    with pytest.raises(UserError, match="use OpenCLIP features") as caught:
        InceptionFeatures()
    assert "\n" not in str(caught.value)
