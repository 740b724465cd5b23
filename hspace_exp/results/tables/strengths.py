"""How straight success grows with strength, where a table has one vector at several strengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hspace_exp.evaluation.functional.linearity import linearity
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.io.digest import digest
from hspace_exp.results.record import RunRecord
from hspace_exp.results.tables.variants import strength_of, without_seed

FEWEST = 3  # two points always lie on a line


def by_strength(
    rows: Mapping[str, Sequence[RunRecord]], merged: Mapping[str, Mapping[str, MetricValue]], metric: str
) -> dict[str, dict[float, float]]:
    """Method → strength → value over all seeds, for rows that differ in nothing but their strength.

    A method with several settings beside its strength has one entry a setting, numbered from the second on.
    """
    settings: dict[tuple[str, str], dict[float, float]] = {}
    for label, records in rows.items():
        strength, found = strength_of(records[0]), merged[label].get(metric)
        if strength is None or found is None or found.value is None:
            continue
        config = without_seed(records[0])
        rest = digest({**config, "method": {k: v for k, v in config["method"].items() if k != "strength"}})
        settings.setdefault((records[0].method, rest), {})[strength] = found.value
    lines: dict[str, dict[float, float]] = {}
    for (method, _), points in settings.items():
        same = sum(name.split(" #")[0] == method for name in lines)
        lines[f"{method} #{same + 1}" if same else method] = dict(sorted(points.items()))
    return lines


def linearity_lines(
    rows: Mapping[str, Sequence[RunRecord]], merged: Mapping[str, Mapping[str, MetricValue]]
) -> list[str]:
    """A line below a table for each method that ran at three strengths or more."""
    lines = []
    for method, points in by_strength(rows, merged, "success").items():
        if len(points) < FEWEST:
            continue
        fit = linearity(list(points), list(points.values()))
        start = f"Success of {method} by strength ({len(points)} strengths, {min(points):g} to {max(points):g})"
        if fit.r_squared is None:
            lines.append(f"{start}: the same at each.")
            continue
        lines.append(
            f"{start}: a straight line explains {fit.r_squared:.1%} of its variance, {fit.slope:+.3f} a unit of "
            f"strength; rank correlation {fit.rank_correlation:.2f}."
        )
    return lines
