"""Figures of one table's runs, by kind: SVG from records, a picture from the strips that runs left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from hspace_exp.evaluation.concept_geometry import concept_cosines
from hspace_exp.generation.grid import strip
from hspace_exp.results.record import RunRecord
from hspace_exp.results.report.bars import Bar, bar_chart
from hspace_exp.results.report.chart import legend, line_chart
from hspace_exp.results.report.collect import Run
from hspace_exp.results.report.curves import SHOWN, strength_points
from hspace_exp.results.report.drawing import drawing
from hspace_exp.results.report.heat import heat_map
from hspace_exp.results.tables.build import merge_seeds
from hspace_exp.results.tables.columns import column
from hspace_exp.results.tables.records import Found, by_row

COMPARED = ("success", "deviation_ratio", "background_psnr", "entanglement")
UNEDITED = "original"
MOST_ROWS = 24
STRIP = 900  # pixels
MOST_BARS = 9  # a profession


def drawings(runs: Sequence[Run], found: Sequence[Found]) -> dict[str, str]:
    """SVG files by kind.

    ``strength``: curves, where a method ran at several strengths; ``bars``: a row of the table each; ``professions``:
    what images of each profession present, before and after; ``cosines``: of each method's vectors.

    Args:
        runs: of one table.
        found: their records, as tables take them.
    """
    rows = by_row(found)
    figures = {
        "bars": _compared(rows),
        "professions": _professions(rows),
        "cosines": _cosines(runs),
    }
    curves = _curves(runs)
    return ({"strength": curves} if curves else {}) | {
        kind: drawing(charts) for kind, charts in figures.items() if charts
    }


def pictures(runs: Sequence[Run], found: Sequence[Found]) -> dict[str, np.ndarray]:
    """``strips``: the same images under every row of the table, where the runs' folders still hold them."""
    pairs = {id(run.record): run.pairs for run in runs}
    rows = [(label, pairs[id(records[0])]) for label, records in list(by_row(found).items())[:MOST_ROWS]]
    rows = [(label, mine) for label, mine in rows if mine]
    return {"strips": strip(dict(rows), width=STRIP)} if rows else {}


def _curves(runs: Sequence[Run]) -> str:
    """A chart a metric that all the methods have, and above them which colour is which; "" without any."""
    lines = {metric: found for metric in SHOWN if (found := strength_points(runs, metric))}
    methods = next((list(found) for found in lines.values()), [])
    charts = [
        line_chart(f"{column(metric).heading} by strength", "strength", column(metric).heading, found)
        for metric, found in lines.items()
        if list(found) == methods
    ]
    return drawing(charts, above=legend(methods)) if charts else ""


def _compared(rows: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    if len(rows) < 2:
        return []
    merged = {label: merge_seeds(records) for label, records in rows.items()}
    charts = []
    for metric in COMPARED:
        bars = {
            label: [Bar(m.value, m.ci_low, m.ci_high)]
            for label, values in merged.items()
            if (m := values.get(metric)) is not None and m.value is not None
        }
        if len(bars) > 1:
            better = next(v[metric].higher_is_better for v in merged.values() if metric in v)
            arrow = "" if better is None else " ↑" if better else " ↓"
            charts.append(bar_chart(f"{column(metric).heading}{arrow}", bars))
    return charts


def _professions(rows: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    """Of two classes the share of the first, of more the deviation ratio: before (``original``) and after."""
    if UNEDITED not in rows or not 1 < len(rows) <= MOST_BARS:
        return []
    values = list(dict.fromkeys(v for row in rows[UNEDITED][0].per_profession for v in row.get("counts", {})))
    if len(values) < 2:
        return []
    shares = {label: _shares(records, values[0] if len(values) == 2 else None) for label, records in rows.items()}
    names = sorted(shares[UNEDITED], key=lambda name: shares[UNEDITED][name])
    bars = {name: [Bar(some.get(name)) for some in shares.values()] for name in names}
    what = f"share of {values[0]}" if len(values) == 2 else "deviation ratio"
    return [bar_chart(f"Each profession's {what}, in the eyes of the judge", bars, list(shares))]


def _shares(records: Sequence[RunRecord], value: str | None) -> dict[str, float]:
    """Profession → share of the images judged ``value``, all seeds together, or without it the mean deviation ratio."""
    found: dict[str, float] = {}
    for name in dict.fromkeys(str(row["profession"]) for record in records for row in record.per_profession):
        mine = [row for record in records for row in record.per_profession if row["profession"] == name]
        if value is None:
            ratios = [row["deviation_ratio"] for row in mine if row.get("deviation_ratio") is not None]
            if ratios:
                found[name] = sum(ratios) / len(ratios)
            continue
        counts = sum((Counter(row.get("counts", {})) for row in mine), Counter[str]())
        if counts.total():
            found[name] = counts[value] / counts.total()
    return found


def _cosines(runs: Sequence[Run]) -> list[str]:
    """One matrix a method: its first run with two concepts or more."""
    charts: dict[str, str] = {}
    for run in runs:
        files = sorted((run.folder / "concepts").glob("*.safetensors"))
        if len(files) > 1 and run.record.method not in charts:
            charts[run.record.method] = heat_map(
                f"Cosines between vectors: {run.record.method}", concept_cosines(files)
            )
    return list(charts.values())
