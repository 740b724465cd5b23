"""The command that scores images made elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hspace_exp.commands import start
from hspace_exp.config import checks
from hspace_exp.evaluation.evaluate import Evaluation, evaluate
from hspace_exp.evaluation.features import OpenClipFeatures
from hspace_exp.evaluation.judged import Observers
from hspace_exp.evaluation.metrics.base import ImageMetric
from hspace_exp.generation.manifest import Pair
from hspace_exp.io.atomic import save_png
from hspace_exp.results.evaluate import is_foreign
from hspace_exp.results.record import read_record


class RedJudge:
    """A red image is a man."""

    name, margin = "clip", 0.0
    attributes: Mapping[str, tuple[str, ...]] = {"gender": ("female", "male")}

    def judge(self, images: Tensor) -> dict[str, Tensor]:
        """Classify."""
        return {"gender": (images[:, 0].mean((1, 2)) > 0.5).long()}


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

    def __init__(self, metrics: Mapping[str, ImageMetric], **_: object) -> None:
        """Take the metrics, and ignore what real ones need."""
        clip = ColourClip()
        self.metrics, self.distribution_features = metrics, OpenClipFeatures(clip)
        self.observers = Observers((RedJudge(),), clip, self.distribution_features)

    def __call__(self, pairs: Sequence[Pair], attribute: str, **options: Any) -> Evaluation:
        """Evaluate."""
        return evaluate(pairs, self.metrics, self.observers, attribute=attribute, repeats=20, **options)


def make(folder: Path, reds: Sequence[int]) -> Path:
    """Images of nurses, with these red levels."""
    for i, red in enumerate(reds):
        image = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        image[..., 0] = red
        save_png(folder / f"nurse/{i}.png", image)
    return folder


def test_the_command_leaves_a_record_that_tables_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(TinyEvaluator, "__module__", "hspace_exp.evaluation.evaluators")  # or it would be no target
    monkeypatch.setattr("hspace_exp.evaluation.evaluators.AvatarEvaluator", TinyEvaluator)
    for known in ("_parameters", "_adapter"):  # of the class that is replaced
        monkeypatch.setattr(checks, known, functools.cache(getattr(checks, known).__wrapped__))
    images, out = make(tmp_path / "mine", [0, 255] * 4), tmp_path / "out"
    assert start(["evaluate", str(images), "--evaluator", "avatars", "--out", str(out), "--device", "cpu"]) == 0
    assert "| mine " in capsys.readouterr().out
    record = read_record(out)
    assert (record.experiment, record.method, record.attribute) == ("evaluate", "mine", "gender")
    assert record.command == f"python -m hspace_exp evaluate {images} --evaluator avatars --out {out} --device cpu"
    assert (out / "judged.csv").exists()
    assert (out / "manifest.csv").exists()
    assert not is_foreign(out)
    assert start(["evaluate", str(out), "--out", str(tmp_path / "again"), "--device", "cpu", "--name", "mine"]) == 0
    assert read_record(tmp_path / "again").metrics == record.metrics


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Missing argument 'images'"),
        (["x", "--evaluator", "avatar"], "unknown evaluator 'avatar'. Did you mean 'avatars'?"),
        (["x", "--evaluater=avatars"], "No such option: --evaluater (Possible options: --evaluator)"),
        (["/nowhere"], "no such file or folder"),
        (["x", "--batch=-1"], "Invalid value for '--batch'"),
        (["x", "--repeats=-1"], "Invalid value for '--repeats'"),
        ([".", "--name", 256 * "x"], "can be no name of a result"),
        ([".", "--name", "a\nb"], "can be no name of a result"),
    ],
)
def test_wrong_input_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["evaluate", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("choice", "setting", "message"),
    [
        (
            "photos_backgrounds",
            "person_masks.network=deeplab",
            "evaluator.person_masks.network=deeplab: expected 'lraspp",
        ),
        ("avatars", "model=ViT-B-32", "unknown key of evaluator 'model'"),
        ("photos", "labelled=0", "unknown key of evaluator 'labelled'"),
        ("photos", "_target_=os.system", "_target_ names os.system, which is not ours"),
    ],
)
def test_a_setting_that_an_evaluator_does_not_take_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], choice: str, setting: str, message: str
) -> None:
    words = ["evaluate", str(make(tmp_path, [0])), "--evaluator", choice, "--set", f"evaluator.{setting}"]
    assert start(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_records_of_runs_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "record.json").write_text('{"schema": 99}')
    assert start(["evaluate", "x", "--out", str(tmp_path)]) == 2
    assert "choose another folder" in capsys.readouterr().err


def test_an_interruption_has_its_own_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hspace_exp.evaluation.sources.find_source", interrupt)
    assert start(["evaluate", "x"]) == 130
