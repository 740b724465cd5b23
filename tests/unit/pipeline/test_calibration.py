"""Bisection over a grid of strengths, against a look at every one of them; points against a whole evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hspace_exp.config.schema import Calibration
from hspace_exp.evaluation.evaluate import Evaluation, evaluate
from hspace_exp.evaluation.features import OpenClipFeatures
from hspace_exp.evaluation.judged import Observers
from hspace_exp.evaluation.metrics.background import BackgroundPsnr
from hspace_exp.evaluation.metrics.fairness import Success
from hspace_exp.generation.manifest import Pair
from hspace_exp.io.atomic import save_png
from hspace_exp.pipeline import calibration
from hspace_exp.pipeline.calibration import Point, bisect, chosen, judging, strengths_of


def settings(**changed: object) -> Calibration:
    given: dict[str, object] = {"professions": ["baker", "guard"], "images": 4, "strengths": [0.25, 16.0]}
    return Calibration(**{**given, **changed})  # type: ignore[arg-type]


def test_the_grid_rises_evenly_on_a_log_scale() -> None:
    assert strengths_of(settings(strengths=[1.0, 16.0], points=5)) == [1.0, 2.0, 4.0, 8.0, 16.0]


@given(needed=st.lists(st.integers(0, 31), min_size=2, max_size=2), target=st.sampled_from([0.5, 0.95, 1.0]))
def test_bisection_finds_what_looking_at_every_strength_finds(needed: list[int], target: float) -> None:
    grid = strengths_of(settings())
    names = ("female", "male")
    tried: list[Mapping[str, float]] = []

    def success(name: str, strength: float) -> float:
        k, threshold = grid.index(strength), needed[names.index(name)]
        return 1.0 if k >= threshold else 0.49 * (k + 1) / len(grid)

    def attempt(strengths: Mapping[str, float]) -> dict[str, Point]:
        tried.append(strengths)
        return {name: Point(s, 10, success(name, s)) for name, s in strengths.items()}

    curves = bisect(grid, names, attempt, target)
    for name, threshold in zip(names, needed, strict=True):
        best = chosen(curves[name], target)
        assert best.strength == (grid[threshold] if threshold < len(grid) else grid[-1])
        assert [p.strength for p in curves[name]] == sorted({one[name] for one in tried if name in one})
    assert len(tried) <= 5  # of 31 strengths


def test_where_success_is_never_reached_the_best_strength_is_taken_and_of_equals_the_least() -> None:
    curve = [Point(1.0, 10, 0.5), Point(2.0, 10, 0.9), Point(4.0, 10, 0.9), Point(8.0, 10, 0.2)]
    assert chosen(curve, 0.95).strength == 2.0
    assert chosen(curve, 0.9).strength == 2.0
    assert chosen(curve, 0.4).strength == 1.0


def test_strengths_hold_for_the_settings_of_the_judge_that_found_them() -> None:
    node = {"_target_": "my.Judge", "wordings": ["a photo of {}"], "margin": 0.0, "device": "cpu", "repeats": 20}
    node |= {"metrics": {"kid": {"_target_": "my.Kid"}}, "person_masks": None}
    assert judging({**node, "device": "cuda", "repeats": 1000, "metrics": {}, "features": None}) == judging(node)
    for other in ({"margin": 0.01}, {"wordings": ["a picture of {}"]}, {"_target_": "my.Other"}, {"person_masks": {}}):
        assert judging({**node, **other}) != judging(node)


class CornerJudge:
    """Reads gender and age off the red and green of a corner; a middling red is unclear."""

    name, margin = "corner", 0.1
    attributes: Mapping[str, tuple[str, ...]] = {"gender": ("female", "male"), "age": ("young", "middle", "old")}

    def judge(self, images: Tensor) -> dict[str, Tensor]:
        """Classify."""
        red, green = images[:, 0, 0, 0], images[:, 1, 0, 0]
        gender = torch.where((red - 0.5).abs() < 0.15, -1, (red > 0.5).long())
        return {"gender": gender, "age": (green * 2.999).long()}


def blue(images: Tensor) -> Tensor:
    """Persons are where blue is at its strongest."""
    return (images[..., 2] > 250)[:, None]


class NoClip:
    """Is not asked."""

    def encode_images(self, images: Tensor) -> Tensor:
        """Nothing of them."""
        return torch.zeros(len(images), 2)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Nothing of them."""
        return torch.zeros(len(texts), 2)


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    """Eleven pairs of noise, of 24 px, all asked for "male"; the last is edited nowhere."""
    rng, made = np.random.default_rng(0), []
    for i in range(11):
        pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        edited = np.where(rng.random((24, 24, 1)) < 0.3, rng.integers(0, 256, pixels.shape, dtype=np.uint8), pixels)
        edited[0, 0] = rng.integers(0, 256, 3) if i < 10 else pixels[0, 0]
        files = [tmp_path / f"{kind}_{i}.png" for kind in ("original", "edited")]
        for file, image in zip(files, (pixels, edited if i < 10 else pixels), strict=True):
            save_png(file, image)
        made.append(Pair("a photo of a nurse", "nurse", i, "male", 2.0, *files))
    return made


@pytest.mark.parametrize("persons", [blue, None])
def test_a_point_says_what_an_evaluation_says_of_the_same_pairs(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch, persons: Callable[[Tensor], Tensor] | None
) -> None:
    monkeypatch.setattr(calibration, "BATCH", 4)
    judge, clip = CornerJudge(), NoClip()
    observers = Observers((judge,), clip, OpenClipFeatures(clip), persons)
    look = partial(calibration.look_at, observers, judge)
    before, after = look([pair.original for pair in pairs]), look([pair.edited for pair in pairs])

    def whole(some: Sequence[Pair]) -> Evaluation:
        metrics = {"success": Success(), "background_psnr": BackgroundPsnr()}
        return evaluate(some, metrics, observers, attribute="gender", repeats=0)

    for rows in (range(11), [0, 3, 4, 7, 8, 10], [10]):
        found = calibration.compared(before.rows(rows), after.rows(rows), "gender", 1, 2.0)
        expected = whole([pairs[k] for k in rows])
        assert (found.strength, found.images) == (2.0, len(rows))
        assert found.success == pytest.approx(expected.metrics["success"].value, abs=5e-5)
        same = [row["corner.age.before"] == row["corner.age.after"] for row in expected.rows]
        assert found.kept == {"age": pytest.approx(sum(same) / len(same), abs=5e-5)}
        if persons is None:
            assert found.background_psnr is None
            assert "background_psnr" not in expected.metrics
        else:
            value = expected.metrics["background_psnr"].value
            assert found.background_psnr == (None if value is None else pytest.approx(value, abs=0.006))
            assert (value is None) == (list(rows) == [10])
    assert {-1, 0, 1} <= set(after.classes["gender"].tolist())  # the unclear ones are no success
