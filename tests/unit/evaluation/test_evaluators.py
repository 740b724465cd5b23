"""The judge of photographs, on a tiny OpenCLIP model with random weights in the published layout."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.evaluation.evaluate import Evaluation
from hspace_exp.evaluation.evaluators import PhotoEvaluator
from hspace_exp.evaluation.metrics.base import ImageMetric
from hspace_exp.generation.manifest import Pair

Metrics = Mapping[str, ImageMetric]


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the architecture "hspace-tiny", which is made known to OpenCLIP."""
    import open_clip

    folder = tmp_path_factory.mktemp("open_clip")
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    (folder / "hspace-tiny.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "hspace-tiny.json")
    torch.manual_seed(0)
    torch.save(open_clip.create_model("hspace-tiny").state_dict(), folder / "weights.pt")
    return folder / "weights.pt"


@pytest.fixture
def pairs(random_pairs: Callable[..., list[Pair]]) -> list[Pair]:
    """Six random pairs of three professions."""
    return random_pairs(6, 40, ("nurse", "cook", "CEO"))


def test_photographs_are_judged_alike_each_time(
    tiny_weights: Path, pairs: list[Pair], standard_metrics: Metrics
) -> None:
    def evaluated() -> Evaluation:
        return PhotoEvaluator("hspace-tiny", str(tiny_weights), standard_metrics, repeats=10, batch_size=4)(
            pairs, "gender"
        )

    found = evaluated()
    assert {"deviation_ratio", "clip_alignment", "fid", "kid"} <= set(found.metrics)
    assert "background_psnr" not in found.metrics
    assert evaluated() == found


def test_a_wide_margin_makes_everything_unclear(
    tiny_weights: Path, pairs: list[Pair], standard_metrics: Metrics
) -> None:
    evaluator = PhotoEvaluator(
        "hspace-tiny",
        str(tiny_weights),
        standard_metrics,
        wordings=["a photo of {}", "a portrait of {}"],
        margin=2.0,
        repeats=0,
    )
    found = evaluator(pairs, "gender").metrics
    assert (found["unclear"].value, found["success"].value) == (1, 0)
    assert (found["deviation_ratio"].value, found["deviation_ratio"].note) == (None, "no image qualifies")


def test_unknown_models_are_one_clear_line() -> None:
    with pytest.raises(UserError, match=r"OpenCLIP ViT-Z-9 .*cannot be had"):
        PhotoEvaluator("ViT-Z-9", "nowhere", {})


def middle(images: torch.Tensor) -> torch.Tensor:
    """Persons stand in the middle."""
    mask = torch.zeros(len(images), 1, *images.shape[1:3], dtype=torch.bool)
    mask[..., 10:30, 10:30] = True
    return mask


def test_photographs_have_backgrounds_where_persons_are_found(
    tiny_weights: Path, pairs: list[Pair], standard_metrics: Metrics
) -> None:
    evaluator = PhotoEvaluator("hspace-tiny", str(tiny_weights), standard_metrics, person_masks=middle, repeats=0)
    found = evaluator(pairs, "gender").metrics
    assert {"background_psnr", "background_ssim"} <= set(found)
    assert 0 < (found["background_ssim"].value or 0) < 1


def test_attributes_of_ones_own_are_judged_by_their_texts(
    tiny_weights: Path, pairs: list[Pair], standard_metrics: Metrics
) -> None:
    smiling = {"smile": {"smiling": "a photo of a smiling person", "neutral": "a photo of a person"}}
    targets = [dataclasses.replace(pair, target="smiling") for pair in pairs]
    wordings = ["a photo of {}", "an image of {}"]
    evaluator = PhotoEvaluator("hspace-tiny", str(tiny_weights), standard_metrics, wordings=wordings, repeats=0)
    found = evaluator(targets, "smile", texts=smiling)
    assert set(found.per_profession[0]["counts"]) == {"smiling", "neutral"}
    assert found.metrics["success"].n == 6
    assert set(found.details["entanglement_matrix"]["smiling"]) >= {"gender", "age"}
    with pytest.raises(UserError, match="unknown attribute of the judge 'clip' 'smile'"):
        evaluator(targets, "smile")
    known = evaluator(pairs, "gender", texts={"gender": {"x": "a", "y": "b"}})
    assert set(known.per_profession[0]["counts"]) == {"female", "male"}  # what the judge knows stays as it is
