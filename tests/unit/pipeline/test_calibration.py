"""Bisection over a grid of strengths, against a look at every one of them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hspace_exp.errors import UserError
from hspace_exp.pipeline.calibration import Calibration, Point, bisect, chosen


def settings(**changed: object) -> Calibration:
    given: dict[str, object] = {"success": 0.95, "professions": ["baker", "guard"], "images": 4}
    return Calibration(**{**given, **changed})  # type: ignore[arg-type]


def test_the_grid_rises_evenly_on_a_log_scale() -> None:
    assert settings(strengths=(1.0, 16.0), points=5).grid == [1.0, 2.0, 4.0, 8.0, 16.0]


@given(needed=st.lists(st.integers(0, 31), min_size=2, max_size=2), target=st.sampled_from([0.5, 0.95, 1.0]))
def test_bisection_finds_what_looking_at_every_strength_finds(needed: list[int], target: float) -> None:
    grid = settings().grid
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


@pytest.mark.parametrize(
    "wrong",
    [
        {"success": 0.0},
        {"success": 1.5},
        {"strengths": (2.0, 1.0)},
        {"strengths": (0.0, 1.0)},
        {"points": 1},
        {"images": 0},
    ],
)
def test_what_has_no_meaning_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match="expected"):
        settings(**wrong)
