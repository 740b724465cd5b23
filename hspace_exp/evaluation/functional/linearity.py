"""How an effect grows with the strength of an edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import linregress, spearmanr

from hspace_exp.errors import UserError


@dataclass(frozen=True)
class Line:
    """A straight line through (strength, effect).

    Attributes:
        slope: effect by unit of strength.
        intercept: effect at strength 0.
        r_squared: share of the effect's variance that the line explains, in [0, 1]; None where the effect is constant.
        rank_correlation: Spearman's, in [-1, 1]; 1 for any effect that only grows. None where the effect is constant.
    """

    slope: float
    intercept: float
    r_squared: float | None
    rank_correlation: float | None


def linearity(strengths: Sequence[float], effects: Sequence[float]) -> Line:
    """Least-squares line and how well it fits.

    Args:
        strengths: (N,) at least two of them different.
        effects: (N,) e.g. success at each strength.

    Raises:
        UserError: lengths differ, or there are fewer than two strengths.
    """
    x, y = np.asarray(strengths, np.float64), np.asarray(effects, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise UserError(f"expected one effect a strength, got {y.shape} and {x.shape}")
    if len(np.unique(x)) < 2:
        raise UserError(f"a line needs at least 2 strengths, got {sorted(set(x.tolist()))}")
    if np.ptp(y) <= 1e-12:
        return Line(0.0, float(y.mean()), None, None)
    line = linregress(x, y)
    return Line(float(line.slope), float(line.intercept), float(line.rvalue) ** 2, float(spearmanr(x, y).statistic))
