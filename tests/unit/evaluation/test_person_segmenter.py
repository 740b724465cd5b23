"""Persons by torchvision's layouts with random weights; whether they find persons, only published weights tell."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import Tensor
from torchvision.models import get_model

from hspace_exp.errors import UserError
from hspace_exp.evaluation.person_segmenter import CLASSES, PERSON, PersonSegmenter

NETWORK = "lraspp_mobilenet_v3_large"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the published layout."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("segmenter") / "weights.pth"
    torch.save(get_model(NETWORK, weights=None, weights_backbone=None, num_classes=CLASSES).state_dict(), path)
    return path


def test_masks_are_of_the_images_size_and_of_the_class_person(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = PersonSegmenter(NETWORK, weights, size=64)
    found = segmenter(torch.randint(0, 256, (2, 40, 60, 3), dtype=torch.uint8))
    assert (tuple(found.shape), found.dtype) == ((2, 1, 40, 60), torch.bool)

    sizes = []

    def halves(pixels: Tensor) -> dict[str, Tensor]:
        sizes.append(tuple(pixels.shape))
        logits = torch.zeros(len(pixels), CLASSES, *pixels.shape[-2:])
        logits[:, PERSON, :, : pixels.shape[-1] // 2] = 1
        logits[:, 3, :, pixels.shape[-1] // 2 :] = 1
        return {"out": logits}

    monkeypatch.setattr(segmenter, "model", halves)
    found = segmenter(torch.zeros(1, 40, 60, 3, dtype=torch.uint8))
    assert sizes == [(1, 3, 64, 96)]
    assert found[0, 0, :, :29].all()
    assert not found[0, 0, :, 31:].any()


def test_what_cannot_be_had_is_one_clear_line(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.pth").write_bytes(weights.read_bytes()[:1000])
    for file in (tmp_path / "broken.pth", tmp_path / "none.pth"):
        with pytest.raises(UserError, match=r"cannot be had.*evaluator\.person_masks\.weights"):
            PersonSegmenter(NETWORK, file)

    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(UserError, match="no network"):
        PersonSegmenter(NETWORK)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50"])
def test_files_of_the_published_layouts_load(network: str, tmp_path: Path) -> None:
    options = {"weights_backbone": None, "num_classes": CLASSES, "aux_loss": True}
    torch.save(get_model(network, weights=None, **options).state_dict(), tmp_path / "weights.pth")
    found = PersonSegmenter(network, tmp_path / "weights.pth", size=64)(torch.zeros(1, 40, 60, 3, dtype=torch.uint8))
    assert (tuple(found.shape), found.dtype) == ((1, 1, 40, 60), torch.bool)
