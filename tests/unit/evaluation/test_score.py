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
from hspace_exp.evaluation.__main__ import Arguments, main, run
from hspace_exp.evaluation.evaluate import Evaluation, evaluate
from hspace_exp.evaluation.features import OpenClipFeatures
from hspace_exp.evaluation.score import is_foreign, score
from hspace_exp.evaluation.sources import find_source
from hspace_exp.generation.manifest import Pair
from hspace_exp.io.atomic import save_png
from hspace_exp.results.record import read_record


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

    def __init__(self, *_: object, **__: object) -> None:
        """Take and ignore what real ones need."""
        self.judge, self.clip = RedJudge(), ColourClip()
        self.distribution_features = OpenClipFeatures(self.clip)

    def __call__(self, pairs: Sequence[Pair], attribute: str, seed: int = 0, parts: Sequence[str] = ()) -> Evaluation:
        """Evaluate."""
        options: dict[str, Any] = {"judge": self.judge, "clip": self.clip, "repeats": 20, "seed": seed}
        return evaluate(pairs, attribute=attribute, parts=parts, **options)


def make(folder: Path, reds: Sequence[int], prefix: str = "nurse/") -> Path:
    for i, red in enumerate(reds):
        image = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        image[..., 0] = red
        save_png(folder / f"{prefix}{i}.png", image)
    return folder


def test_images_alone_have_no_numbers_of_pairs(tmp_path: Path) -> None:
    found = score(find_source(make(tmp_path, [0, 255, 255, 255]), None), TinyEvaluator(), "gender")
    assert found.metrics["deviation_ratio"].value == 0.5
    assert {"subject_alignment", "parity_gap"} <= set(found.metrics)
    assert not {"fid", "entanglement", "scene_kept", "success", "flipped"} & set(found.metrics)
    assert "entanglement_matrix" not in found.details
    assert found.per_profession[0]["counts"] == {"female": 1, "male": 3}
    assert "scene_kept" not in found.per_profession[0]


def test_pairs_have_them(tmp_path: Path) -> None:
    images, partners = make(tmp_path / "a", [0, 255] * 4), make(tmp_path / "b", [0] * 8)
    found = score(find_source(images, partners), TinyEvaluator(), "gender")
    assert found.metrics["scene_kept"].value == 1
    assert found.metrics["fid"].value is not None
    assert found.details["entanglement_matrix"][""]["gender"] == 0.5


def test_a_reference_set_is_compared_as_a_set(tmp_path: Path) -> None:
    images, real = make(tmp_path / "a", [0, 255] * 8, ""), make(tmp_path / "b", [0, 255] * 10, "real_")
    found = score(find_source(images, real), TinyEvaluator(), "gender", repeats=20)
    assert found.metrics["fid"].note == "openclip features, 16 images against 20 that are no pairs of them"
    assert found.metrics["coverage"].value == 1
    assert "clip_alignment" not in found.metrics


def test_known_truth_measures_the_judge(tmp_path: Path) -> None:
    make(tmp_path, [0, 255, 255, 255], "")
    (tmp_path / "list.csv").write_text("image,truth\n0.png,female\n1.png,female\n2.png,male\n3.png,\n")
    found = score(find_source(tmp_path / "list.csv", None), TinyEvaluator(), "gender")
    accuracy = found.metrics["classifier_accuracy"]
    assert (accuracy.value, accuracy.n) == (pytest.approx(2 / 3, abs=1e-6), 3)
    assert found.details["confusion"]["counts"] == [[1, 1, 0], [0, 1, 0]]
    (tmp_path / "list.csv").write_text("image,truth\n0.png,femal\n")
    with pytest.raises(UserError, match=r"truth of gender 'femal'\. Did you mean 'female'"):
        score(find_source(tmp_path / "list.csv", None), TinyEvaluator(), "gender")


def test_a_composition_is_judged_by_part_and_together(tmp_path: Path) -> None:
    make(tmp_path, [0, 255], "")
    rows = "image,profession,target,truth\n0.png,nurse,female+dark,female+dark\n1.png,nurse,male+green,female+dark\n"
    (tmp_path / "list.csv").write_text(rows)
    source = find_source(tmp_path / "list.csv", None)
    seen = TinyEvaluator().judge.judge(torch.from_numpy(_pictures(tmp_path)))
    found = score(source, TinyEvaluator(), "gender+scene").metrics
    assert found["success_gender"].value == 1
    dark_then_green = (seen["scene"] == torch.tensor([0, 1])).double().mean().item()
    assert found["success_scene"].value == found["composition_success"].value == dark_then_green
    accuracy = ((seen["gender"] == 0) & (seen["scene"] == 0)).double().mean().item()
    assert found["classifier_accuracy"].value == accuracy
    with pytest.raises(UserError, match="Did you mean 'gender'"):
        score(source, TinyEvaluator(), "gendr+scene")


def _pictures(folder: Path) -> np.ndarray:
    images = [np.asarray(Image.open(folder / f"{i}.png").convert("RGB")) for i in range(2)]
    return np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255


def test_the_command_leaves_a_record_that_tables_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hspace_exp.evaluation.evaluators.AvatarEvaluator", TinyEvaluator)
    images, out = make(tmp_path / "mine", [0, 255] * 4), tmp_path / "out"
    assert main([f"images={images}", f"out={out}", "device=cpu"]) == 0
    assert "| mine " in capsys.readouterr().out
    record = read_record(out)
    assert (record.experiment, record.method, record.attribute) == ("evaluate", "mine", "gender")
    assert record.command == f"python -m hspace_exp evaluate images={images} out={out} device=cpu"
    assert (out / "judged.csv").exists()
    assert (out / "manifest.csv").exists()
    assert not is_foreign(out)
    assert main([f"images={out}", f"out={tmp_path / 'again'}", "device=cpu", "name=mine"]) == 0
    assert read_record(tmp_path / "again").metrics == record.metrics


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to evaluate: images="),
        (["images=x", "judge=avatar"], "unknown judge 'avatar'. Did you mean 'avatars'?"),
        (["imags=x"], "imags"),
        (["images=/nowhere"], "no such file or folder"),
    ],
)
def test_wrong_input_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_unknown_finder_of_persons_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"images={make(tmp_path, [0])}", "judge=photos", "persons=deeplab"]) == 2
    assert "unknown segmentation network 'deeplab'. Choices: lraspp" in capsys.readouterr().err


def test_records_of_runs_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"schema": 99}')
    with pytest.raises(UserError, match="choose another folder"):
        run(Arguments(images="x", out=str(tmp_path)))


def test_an_interruption_has_its_own_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hspace_exp.evaluation.sources.find_source", interrupt)
    assert main(["images=x"]) == 130
