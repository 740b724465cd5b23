"""What a concept's strength does: curves of runs that differ in it, and how straight they are."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from statistics import fmean

from hspace_exp.evaluation.functional.linearity import linearity
from hspace_exp.results.report.chart import COLOURS, Point, line_chart
from hspace_exp.results.report.collect import Run
from hspace_exp.results.tables.columns import column
from hspace_exp.results.tables.variants import strength_of

SHOWN = ("success", "deviation_ratio", "background_ssim", "clip_alignment", "entanglement", "scene_kept")
FEWEST = 2


def strength_points(runs: Sequence[Run], metric: str) -> dict[str, list[Point]]:
    """Points of each method that ran at two strengths or more; seeds are averaged, the unedited model is strength 0.

    The unedited model is left out of numbers that compare images with the unedited ones.
    """
    values: dict[str, dict[float, list[Run]]] = {}
    for run in runs:
        strength = strength_of(run.record)
        if strength is not None and _value(run, metric) is not None:
            values.setdefault(run.record.method, {}).setdefault(strength, []).append(run)
    original = [run for run in runs if run.record.method == "original" and _value(run, metric) is not None]
    lines = {}
    for method, by_strength in values.items():
        if len(by_strength) < FEWEST:
            continue
        if original and not column(metric).beside_original and metric != "success":
            by_strength = {0.0: original, **by_strength}
        lines[method] = [_point(strength, found, metric) for strength, found in sorted(by_strength.items())]
    return lines


def strength_curves(runs: Sequence[Run]) -> str:
    """Charts of the metrics that were measured at several strengths; "" where there are none."""
    figures = []
    for metric in SHOWN:
        lines = strength_points(runs, metric)
        if not lines:
            continue
        heading = column(metric).heading
        chart = line_chart(f"{heading} by strength", "strength", heading, lines)
        words = "; ".join(f"{_key(i)}{escape(method)}{_fit(line)}" for i, (method, line) in enumerate(lines.items()))
        figures.append(f"<figure>{chart}<figcaption>{words}</figcaption></figure>")
    return f'<div class="charts">{"".join(figures)}</div>' if figures else ""


def _point(strength: float, runs: Sequence[Run], metric: str) -> Point:
    found = [run.record.metrics[metric] for run in runs]
    value = fmean(m.value for m in found if m.value is not None)
    lows, highs = ([getattr(m, end) for m in found] for end in ("ci_low", "ci_high"))
    if None in lows or None in highs:
        return Point(strength, value)
    return Point(strength, value, fmean(lows), fmean(highs))


def _fit(line: Sequence[Point]) -> str:
    if len(line) <= FEWEST:
        return ""
    found = linearity([p.x for p in line], [p.y for p in line])
    return "" if found.r_squared is None else f" (a straight line explains {found.r_squared:.0%})"


def _key(index: int) -> str:
    return f'<span class="key" style="background:{COLOURS[index % len(COLOURS)]}"></span>'


def _value(run: Run, metric: str) -> float | None:
    found = run.record.metrics.get(metric)
    return None if found is None else found.value
