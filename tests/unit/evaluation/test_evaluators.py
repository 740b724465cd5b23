"""The judge of photographs, on a tiny OpenCLIP model with random weights in the published layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hspace_exp.atomic import save_png
from hspace_exp.errors import UserError
from hspace_exp.evaluation.evaluators import PhotoEvaluator
from hspace_exp.evaluation.openclip import OpenClip
from hspace_exp.evaluation.pairs import Pair


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
def pairs(tmp_path: Path) -> list[Pair]:
    """Six random pairs of three professions."""
    rng, made = np.random.default_rng(0), []
    for i in range(6):
        files = [tmp_path / f"{kind}_{i}.png" for kind in ("original", "edited")]
        for file in files:
            save_png(file, rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
        profession, target = ("nurse", "cook", "CEO")[i % 3], ("female", "male")[i // 3]
        made.append(Pair(f"a photo of a {profession}", profession, i, target, 1.0, files[0], files[1]))
    return made


def test_photographs_are_judged_and_their_features_kept(
    tiny_weights: Path, pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make() -> PhotoEvaluator:
        return PhotoEvaluator("hspace-tiny", str(tiny_weights), cache_dir=tmp_path, repeats=10, batch_size=4)

    found = make()(pairs, "gender")
    assert {"deviation_ratio", "clip_alignment", "fid", "kid"} <= set(found.metrics)
    assert "background_psnr" not in found.metrics
    assert list((tmp_path / "image_features").rglob("*.safetensors"))

    def refuse(self: OpenClip, images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("embedded again")

    monkeypatch.setattr(OpenClip, "encode_images", refuse)
    assert make()(pairs, "gender") == found


def test_a_wide_margin_makes_everything_unclear(tiny_weights: Path, pairs: list[Pair]) -> None:
    evaluator = PhotoEvaluator(
        "hspace-tiny", str(tiny_weights), wordings=["a photo of {}", "a portrait of {}"], margin=2.0, repeats=0
    )
    found = evaluator(pairs, "gender").metrics
    assert (found["unclear"].value, found["success"].value) == (1, 0)
    assert (found["deviation_ratio"].value, found["deviation_ratio"].note) == (None, "no image qualifies")


def test_unknown_models_are_one_clear_line() -> None:
    with pytest.raises(UserError, match="cannot get OpenCLIP ViT-Z-9"):
        PhotoEvaluator("ViT-Z-9", "nowhere")
