"""What is and is not said about images from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.evaluation.evaluate import Evaluation, evaluate
from hspace_exp.evaluation.features import OpenClipFeatures
from hspace_exp.evaluation.judged import Observers
from hspace_exp.evaluation.metrics.base import ImageMetric
from hspace_exp.evaluation.score import score
from hspace_exp.evaluation.sources import find_source
from hspace_exp.generation.manifest import Pair
from hspace_exp.io.atomic import save_png


class RedJudge:
    """A bright image is a man."""

    name, margin = "clip", 0.0
    attributes: Mapping[str, tuple[str, ...]] = {"gender": ("female", "male"), "scene": ("dark", "green")}

    def judge(self, images: Tensor) -> dict[str, Tensor]:
        """Classify."""
        return {name: (images[:, i].mean((1, 2)) > 0.5).long() for i, name in enumerate(self.attributes)}


class ColourClip:
    """Embeds images by their mean colour."""

    def encode_images(self, images: Tensor) -> Tensor:
        """(B, 3)."""
        return torch.nn.functional.normalize(images.mean((2, 3)) + 0.01, dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """(T, 3)."""
        return torch.nn.functional.normalize(torch.ones(len(texts), 3), dim=-1)


class TinyEvaluator:
    """The judge above."""

    def __init__(self, metrics: Mapping[str, ImageMetric]) -> None:
        """Take the metrics."""
        self.metrics, self.clip, self.judge = metrics, ColourClip(), RedJudge()
        self.distribution_features = OpenClipFeatures(self.clip)

    def __call__(self, pairs: Sequence[Pair], attribute: str, seed: int = 0, **options: Any) -> Evaluation:
        """Evaluate."""
        observers = Observers((self.judge,), self.clip, self.distribution_features)
        options.pop("texts", None)
        return evaluate(pairs, self.metrics, observers, attribute=attribute, repeats=20, seed=seed, **options)


@pytest.fixture
def evaluator(standard_metrics: Mapping[str, ImageMetric]) -> TinyEvaluator:
    """It, with the metrics of conf/metric."""
    return TinyEvaluator(standard_metrics)


def make(folder: Path, reds: Sequence[int], prefix: str = "nurse/") -> Path:
    for i, red in enumerate(reds):
        image = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        image[..., 0] = red
        save_png(folder / f"{prefix}{i}.png", image)
    return folder


def test_images_alone_have_no_numbers_of_pairs(tmp_path: Path, evaluator: TinyEvaluator) -> None:
    found = score(find_source(make(tmp_path, [0, 255, 255, 255]), None), evaluator, "gender")
    assert found.metrics["deviation_ratio"].value == 0.5
    assert "subject_alignment" in found.metrics
    assert not {"fid", "entanglement", "scene_kept", "success", "flipped"} & set(found.metrics)
    assert "entanglement_matrix" not in found.details
    assert found.per_profession[0]["counts"] == {"female": 1, "male": 3}
    assert "scene_kept" not in found.per_profession[0]


def test_pairs_have_them(tmp_path: Path, evaluator: TinyEvaluator) -> None:
    images, partners = make(tmp_path / "a", [0, 255] * 4), make(tmp_path / "b", [0] * 8)
    found = score(find_source(images, partners), evaluator, "gender")
    assert found.metrics["scene_kept"].value == 1
    assert found.metrics["fid"].value is not None
    assert found.details["entanglement_matrix"][""]["gender"] == 0.5


def test_a_reference_set_is_compared_as_a_set(tmp_path: Path, evaluator: TinyEvaluator) -> None:
    images, real = make(tmp_path / "a", [0, 255] * 8, ""), make(tmp_path / "b", [0, 255] * 10, "real_")
    found = score(find_source(images, real), evaluator, "gender", repeats=20)
    assert found.metrics["fid"].note == "openclip features, 16 images against 20 that are no pairs of them"
    assert found.metrics["kid"].heading == "KID"
    assert "clip_alignment" not in found.metrics


def test_known_truth_measures_the_judge(tmp_path: Path, evaluator: TinyEvaluator) -> None:
    make(tmp_path, [0, 255, 255, 255], "")
    (tmp_path / "list.csv").write_text("image,truth\n0.png,female\n1.png,female\n2.png,male\n3.png,\n")
    found = score(find_source(tmp_path / "list.csv", None), evaluator, "gender")
    accuracy = found.metrics["classifier_accuracy"]
    assert (accuracy.value, accuracy.n) == (pytest.approx(2 / 3, abs=1e-6), 3)
    assert found.details["confusion"]["counts"] == [[1, 1, 0], [0, 1, 0]]
    (tmp_path / "list.csv").write_text("image,truth\n0.png,femal\n")
    with pytest.raises(UserError, match=r"gender 'femal'\. Did you mean 'female'"):
        score(find_source(tmp_path / "list.csv", None), evaluator, "gender")


def test_a_composition_is_judged_by_part_and_together(tmp_path: Path, evaluator: TinyEvaluator) -> None:
    make(tmp_path, [0, 255], "")
    rows = "image,profession,target,truth\n0.png,nurse,female+dark,female+dark\n1.png,nurse,male+green,female+dark\n"
    (tmp_path / "list.csv").write_text(rows)
    source = find_source(tmp_path / "list.csv", None)
    seen = evaluator.judge.judge(torch.from_numpy(_pictures(tmp_path)))
    found = score(source, evaluator, "gender+scene").metrics
    assert found["success_gender"].value == 1
    dark_then_green = (seen["scene"] == torch.tensor([0, 1])).double().mean().item()
    assert found["success_scene"].value == found["composition_success"].value == dark_then_green
    accuracy = ((seen["gender"] == 0) & (seen["scene"] == 0)).double().mean().item()
    assert found["classifier_accuracy"].value == accuracy
    with pytest.raises(UserError, match="Did you mean 'gender'"):
        score(source, evaluator, "gendr+scene")


def test_only_images_with_a_prompt_count_in_alignment(tmp_path: Path, evaluator: TinyEvaluator) -> None:
    make(tmp_path, [0, 255, 20, 40], "")
    for name, rows in (("half", "0.png,x\n1.png,\n2.png,x\n3.png,\n"), ("known", "0.png,x\n2.png,x\n")):
        (tmp_path / f"{name}.csv").write_text("image,prompt\n" + rows)
    half, known = (score(find_source(tmp_path / f"{n}.csv", None), evaluator, "gender") for n in ("half", "known"))
    assert (half.metrics["clip_alignment"].value, half.metrics["clip_alignment"].n) == (
        known.metrics["clip_alignment"].value,
        2,
    )
    assert half.metrics["deviation_ratio"].n == 4
    assert "subject_alignment" not in half.metrics  # no profession is known
    assert [row["clip_alignment"] == "" for row in half.rows] == [row["prompt"] == "" for row in half.rows]


def _pictures(folder: Path) -> np.ndarray:
    images = [np.asarray(Image.open(folder / f"{i}.png").convert("RGB")) for i in range(2)]
    return np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255
