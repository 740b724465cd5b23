"""Figures of one table's runs by matplotlib: PNG and PDF files, and SVG for pages."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from hspace_exp.evaluation.value import MetricValue
from hspace_exp.generation.grid import strip
from hspace_exp.results.record import RunRecord
from hspace_exp.results.runs import Run
from hspace_exp.results.tables.build import merge_seeds
from hspace_exp.results.tables.columns import column
from hspace_exp.results.tables.records import by_row, by_strength

COMPARED = ("success", "deviation_ratio", "background_psnr", "entanglement")
KEPT = ("background_psnr", "scene_kept", "entanglement")
MOST_ROWS = 24
STRIP, MOST_PIXELS = 900, 500_000  # width and size of a picture of strips
# Okabe and Ito's palette: told apart without red-green vision.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a7f00", "#666666")
# The palette again, and how all figures look.
_STYLE = Path(__file__).with_name("figures.mplstyle")
_UNDATED = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}

Rows = Mapping[str, Sequence[RunRecord]]
Merged = Mapping[str, Mapping[str, MetricValue]]


@dataclass(frozen=True)
class Chart:
    """A figure, and in ``words`` the numbers that it shows."""

    figure: Figure
    words: str

    def encoded(self, form: str) -> bytes:
        """The file: png, pdf or svg."""
        data = io.BytesIO()
        with mpl.rc_context(fname=_STYLE):
            self.figure.savefig(data, format=form, metadata=_UNDATED[form])
        return small_png(Image.open(data).convert("RGB")) if form == "png" else data.getvalue()


def small_png(picture: Image.Image) -> bytes:
    """A PNG with a palette of 64 colours: a third of the bytes, and no difference that the eye would find."""
    data = io.BytesIO()
    picture.quantize(64).save(data, format="PNG", optimize=True)
    return data.getvalue()


def charts(runs: Sequence[Run]) -> dict[str, Chart]:
    """Charts by kind of the runs of one table.

    ``front``: curves, where a method ran at several strengths; ``bars``: a row of the table each, unless curves show
    more of them than a page holds.
    """
    rows = by_row(runs)
    merged = {label: merge_seeds(records) for label, records in rows.items()}
    front = _fronts(rows, merged)
    bars = None if front is not None and len(rows) > MOST_ROWS else _compared(merged)
    return {kind: chart for kind, chart in (("front", front), ("bars", bars)) if chart is not None}


def strips(runs: Sequence[Run]) -> Image.Image | None:
    """The same images under every row of the table, where the runs' folders still hold them."""
    pairs = {id(run.record): run.pairs for run in runs}
    rows = {label: pairs[id(records[0])] for label, records in list(by_row(runs).items())[:MOST_ROWS]}
    rows = {label: mine for label, mine in rows.items() if mine}
    if not rows:
        return None
    picture = Image.fromarray(strip(rows, width=STRIP))
    share = math.sqrt(min(1.0, MOST_PIXELS / (picture.width * picture.height)))
    picture.thumbnail((round(share * picture.width), round(share * picture.height)))
    return picture


def losses(run: Run) -> Chart | None:
    """Training loss of each concept by step; None where the run logged none."""
    curves = run.losses()
    if not curves:
        return None
    with _panels(1, (6.4, 3.0)) as (figure, (axes,)):
        for name, curve in curves.items():
            axes.plot(list(curve), list(curve.values()), label=name)
        least = min(loss for curve in curves.values() for loss in curve.values())
        axes.set(xlabel="step", ylabel="training loss", yscale="log" if least > 0 else "linear")
        figure.legend(loc="outside upper center", ncols=min(len(curves), 7), frameon=False)
    ends = {name: [*curve.values()] for name, curve in curves.items()}
    told = "; ".join(f"{name}: {c[0]:.3g} at first, {c[-1]:.3g} at last" for name, c in ends.items())
    return Chart(figure, f"Training loss by step. {told}")


def calibration_chart(found: Mapping[str, Any], success: float) -> Chart:
    """Success, background and what else was kept by strength, a line a concept; a ring marks the strength that is used.

    ``found`` are the ``concepts`` of ``calibration.json``, ``success`` that was asked for.
    """
    all_points = [point for one in found.values() for point in one["curve"]]
    others = sorted({name for point in all_points for name in point["kept"]})
    tried = sorted({point["strength"] for point in all_points})
    measures = {"success": "success", "background_psnr": "background PSNR, dB", **{n: f"{n} kept" for n in others}}
    with _panels(len(measures), (4.2, 2.4)) as (figure, axes):
        for panel, (key, title) in zip(axes, measures.items(), strict=True):
            for k, (name, one) in enumerate(found.items()):
                seen = [(p["strength"], {**p["kept"], **p}.get(key)) for p in one["curve"]]
                points = [(strength, value) for strength, value in seen if value is not None]
                colour = COLOURS[k % len(COLOURS)]
                at = [point for point in points if point[0] == one["strength"]]
                panel.plot([s for s, _ in points], [v for _, v in points], "o-", ms=4, label=name, color=colour)
                panel.plot([s for s, _ in at], [v for _, v in at], "o", ms=10, mfc="none", color=colour)
            panel.set(title=title, xlabel="strength", xscale="log", xticks=tried, xticklabels=[f"{s:g}" for s in tried])
            panel.minorticks_off()
        axes[0].axhline(success, linestyle=":", color="grey")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    told = "; ".join(f"{name}: success {one['success']} at {one['strength']:g}" for name, one in found.items())
    return Chart(figure, f"What images do by strength. {told}")


@contextmanager
def _panels(count: int, size: tuple[float, float], columns: int = 2) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of ``count`` panels in rows of ``columns``, each of ``size`` in inches."""
    across = min(columns, count)
    down = -(-count // across)
    with mpl.rc_context(fname=_STYLE):
        figure = Figure((size[0] * across, size[1] * down), layout="constrained")
        axes = list(figure.subplots(down, across, squeeze=False).flat)
        for unused in axes[count:]:
            unused.set_axis_off()
        yield figure, axes[:count]


def _fronts(rows: Rows, merged: Merged) -> Chart | None:
    """What success costs: a panel for each of ``KEPT``, a curve a method from its least to its greatest strength.

    A method is better than another only where its whole curve lies beyond the other's.
    """
    success, told = by_strength(rows, merged, "success"), []
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for metric in KEPT:
        for method, found in by_strength(rows, merged, metric).items():
            at = success[method]
            points = [(at[s].value or 0.0, m.value or 0.0) for s, m in found.items() if s in at]
            if len(points) > 1:
                curves.setdefault(metric, {})[method] = points
    if not curves:
        return None
    methods = list(dict.fromkeys(method for lines in curves.values() for method in lines))
    with _panels(len(curves), (4.2, 4.0), columns=len(curves)) as (figure, axes):
        for panel, (metric, lines) in zip(axes, curves.items(), strict=True):
            heading = column(metric).heading
            for method, points in lines.items():
                beyond, colour = divmod(methods.index(method), len(COLOURS))
                line = ("o-", "s--", "^:")[beyond % 3]  # no two of 24 alike
                panel.plot(*zip(*points, strict=True), line, ms=4, label=method, color=COLOURS[colour])
                told.append(f"{heading}, {method}: {', '.join(f'{y:.3g} at success {x:.3g}' for x, y in points)}")
            panel.set(xlabel="success", title=heading)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    return Chart(figure, f"What success costs. {'; '.join(told)}")


def _compared(merged: Merged) -> Chart | None:
    """A panel a metric, a bar a row."""
    found = {metric: {n: v[metric] for n, v in merged.items() if metric in v} for metric in COMPARED}
    there = {metric: {n: m for n, m in bars.items() if m.value is not None} for metric, bars in found.items()}
    shown = {metric: bars for metric, bars in there.items() if len(bars) > 1}
    if not shown:
        return None
    told, most, longest = [], max(map(len, shown.values())), max(map(len, merged))
    with _panels(len(shown), (3.2 + 0.07 * longest, 0.6 + 0.22 * most)) as (figure, axes):
        for panel, (metric, bars) in zip(axes, shown.items(), strict=True):
            better = next(iter(bars.values())).higher_is_better
            heading = f"{column(metric).heading}{'' if better is None else ' ↑' if better else ' ↓'}"
            values, low, high = np.array([(m.value, m.ci_low, m.ci_high) for m in bars.values()], np.float64).T
            reach = np.nan_to_num([values - low, high - values]).clip(min=0)  # none where there is no interval
            panel.barh(list(bars), values, xerr=reach, capsize=2, height=0.7, color=COLOURS[0])
            panel.set(title=heading)
            panel.margins(y=0.02)
            panel.invert_yaxis()
            panel.grid(visible=False, axis="y")
            told.append(f"{heading}: {', '.join(f'{label} {v:.3g}' for label, v in zip(bars, values, strict=True))}")
    return Chart(figure, "; ".join(told))
