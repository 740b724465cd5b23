"""conf/evaluator for photographs, instantiated from files of the published layouts with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torchvision.models import get_model, squeezenet1_1

from hspace_exp.config.command_line import CONF
from hspace_exp.config.schema import register
from hspace_exp.evaluation.evaluate import Evaluation
from hspace_exp.evaluation.evaluators import PhotoEvaluator
from hspace_exp.evaluation.person_segmenter import CLASSES
from hspace_exp.generation.manifest import Pair

SEGMENTER = "lraspp_mobilenet_v3_large"
CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights, and torch's hub folder in it."""
    import open_clip

    folder = tmp_path_factory.mktemp("weights")
    (folder / "hub" / "checkpoints").mkdir(parents=True)
    (folder / "hspace-photo.json").write_text(json.dumps(CLIP))
    open_clip.add_model_config(folder / "hspace-photo.json")
    torch.manual_seed(0)
    torch.save(open_clip.create_model("hspace-photo").state_dict(), folder / "clip.pt")
    segmenter = get_model(SEGMENTER, weights=None, weights_backbone=None, num_classes=CLASSES)
    torch.save(segmenter.state_dict(), folder / "segmenter.pth")
    torch.save(squeezenet1_1().state_dict(), folder / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth")
    return folder


@pytest.fixture
def pairs(random_pairs: Callable[..., list[Pair]]) -> list[Pair]:
    """Eight random pairs."""
    return random_pairs(8, 48, ("nurse", "cook"))


def evaluated(files: Path, pairs: list[Pair], *overrides: str) -> tuple[PhotoEvaluator, Evaluation]:
    """What the evaluator of a configuration finds."""
    own = ["model=hspace-photo", f"weights={files / 'clip.pt'}", "repeats=20"]
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", [*overrides, *(f"evaluator.{one}" for one in own), "device=cpu"])
    evaluator: Any = instantiate(cfg.evaluator)
    return evaluator, evaluator(pairs, "gender")


def test_backgrounds_of_photographs(files: Path, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(files))
    _, found = evaluated(
        files,
        pairs,
        "evaluator=photos_backgrounds",
        f"evaluator.person_masks.network={SEGMENTER}",
        f"evaluator.person_masks.weights={files / 'segmenter.pth'}",
        "+evaluator.person_masks.size=64",
        "evaluator.metrics.background_lpips.backbone=squeeze",
    )
    assert {"background_psnr", "background_ssim", "background_lpips"} <= set(found.metrics)
    assert found.metrics["background_lpips"].n == 8


def test_inception_distances_of_photographs(files: Path, pairs: list[Pair], inception_weights: Path) -> None:
    evaluator, found = evaluated(
        files, pairs, "evaluator=photos_inception", f"evaluator.features.weights={inception_weights}"
    )
    assert evaluator.distribution_features.name == "inception"
    for name in ("fid", "kid"):
        assert found.metrics[name].n == 8
        assert found.metrics[name].note is not None
        assert found.metrics[name].note.startswith("inception features")
    assert (found.metrics["fid"].value or 0) > 0
