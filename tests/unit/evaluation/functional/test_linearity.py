"""Lines through effects, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import linregress, spearmanr

from hspace_exp.errors import UserError
from hspace_exp.evaluation.functional.linearity import linearity

RNG = np.random.default_rng(0)


def test_agrees_with_scipy() -> None:
    x = RNG.normal(size=30)
    y = 0.3 * x + RNG.normal(0, 0.2, 30)
    found, expected = linearity(list(x), list(y)), linregress(x, y)
    assert found.slope == pytest.approx(expected.slope)
    assert found.intercept == pytest.approx(expected.intercept)
    assert found.r_squared == pytest.approx(expected.rvalue**2)
    assert found.rank_correlation == pytest.approx(spearmanr(x, y).statistic)


def test_a_line_and_a_curve_and_nothing() -> None:
    assert linearity([0, 1, 2], [0.1, 0.3, 0.5]).r_squared == pytest.approx(1)
    curve = linearity([0, 1, 2, 3], [0, 0.9, 0.95, 1])
    assert curve.r_squared is not None
    assert curve.r_squared < 0.8
    assert curve.rank_correlation == pytest.approx(1)
    flat = linearity([0, 1, 2], [0.4, 0.4, 0.4])
    assert (flat.slope, flat.r_squared, flat.rank_correlation) == (0, None, None)


def test_bad_input_is_refused() -> None:
    with pytest.raises(UserError, match="one effect a strength"):
        linearity([0, 1], [0.5])
    with pytest.raises(UserError, match="at least 2 strengths"):
        linearity([1, 1], [0.5, 0.6])
