"""From records to tables: numbers averaged over seeds, the best marked, footers that say where they come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

from hspace_exp.evaluation.value import MetricValue
from hspace_exp.results.record import RunRecord
from hspace_exp.results.runs import Run, find_runs
from hspace_exp.results.tables.columns import REPEATED, Column, blocks_for, column
from hspace_exp.results.tables.footers import SEEDS_FOR_T, footers
from hspace_exp.results.tables.records import by_row, by_table

ARROWS = {None: "", True: "↑", False: "↓"}
INFINITE = "∞"


@dataclass(frozen=True)
class Cell:
    """One number as text, its interval as "low, high", "" where there is none; whether it is its column's best."""

    value: str
    interval: str = ""
    best: bool = False


@dataclass(frozen=True)
class Block:
    """Columns that belong together: headings with the direction in which a number is better, and one list a row."""

    title: str
    columns: tuple[Column, ...]
    headings: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Table:
    """Methods against metrics, for one experiment, model and attribute."""

    title: str
    rows: tuple[str, ...]
    blocks: tuple[Block, ...]
    footers: tuple[str, ...]


def build(paths: Iterable[str | Path], metrics: Sequence[str] | None = None) -> list[Table]:
    """Tables of all records in and below ``paths``; see ``blocks_for`` about ``metrics``.

    Raises UserError: there are no records, one is not whole, two disagree, or a metric is unknown.
    """
    return [make_table(title, runs, metrics) for title, runs in by_table(find_runs(paths)).items()]


def make_table(title: str, runs: Sequence[Run], metrics: Sequence[str] | None = None) -> Table:
    """One table of runs that ``by_table`` put together."""
    rows = by_row(runs)
    merged = {label: merge_seeds(records) for label, records in rows.items()}
    originals = {label for label, records in rows.items() if records[0].method == "original"}
    present = {name: value for values in merged.values() for name, value in values.items()}
    repeated = {name for name, other in REPEATED.items() if metrics is None and _alike(name, other, merged)}
    blocks = []
    for heading, columns in blocks_for({n: v for n, v in present.items() if n not in repeated}, metrics).items():
        shown = [_cells(c, merged, originals) for c in columns]
        headings = tuple(f"{c.heading} {ARROWS[_better(c, merged)]}".strip() for c in columns)
        blocks.append(Block(heading, columns, headings, tuple(zip(*shown, strict=True))))
    every = [c for block in blocks for c in block.columns]
    return Table(title, tuple(rows), tuple(blocks), tuple(footers(rows, merged, every)))


def _alike(name: str, other: str, merged: Mapping[str, Mapping[str, MetricValue]]) -> bool:
    """Whether two metrics have the same value in every row that has the first."""
    return all(v.get(other) is not None and v[other].value == v[name].value for v in merged.values() if name in v)


def merge_seeds(records: Sequence[RunRecord]) -> dict[str, MetricValue]:
    """Mean over seeds of each metric.

    The interval has the mean of the seeds' own bootstrap bounds, which knows about images; from three seeds on it is
    widened to Student's t interval of the seeds' values, which knows about training, where that reaches further. (Seeds
    may share unedited images, so a spread over seeds alone could claim too much.) N is the number of images of one
    seed, the least where they differ. A metric that is null in some seeds is null.
    """
    merged = {}
    for name in dict.fromkeys(name for record in records for name in record.metrics):
        found = [record.metrics[name] for record in records if name in record.metrics]
        values = [m.value for m in found if m.value is not None]
        value = fmean(values) if len(values) == len(found) else None
        low, high = _mean([m.ci_low for m in found]), _mean([m.ci_high for m in found])
        if value is None:
            low = high = None
        elif len(found) >= SEEDS_FOR_T:
            from scipy.special import stdtrit  # a second, which tables of fewer seeds do without

            reach = float(stdtrit(len(values) - 1, 0.975)) * stdev(values) / len(values) ** 0.5
            least, most = column(name).bounds
            low = None if low is None else min(low, max(value - reach, least))
            high = None if high is None else max(high, min(value + reach, most))
        merged[name] = replace(
            found[0],
            value=value,
            ci_low=low,
            ci_high=high,
            n=min(m.n for m in found),
            note="; ".join(dict.fromkeys(m.note for m in found if m.note)),
            ci_low_professions=None,
            ci_high_professions=None,
        )
    return merged


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _cells(shown: Column, merged: Mapping[str, Mapping[str, MetricValue]], originals: set[str]) -> list[Cell]:
    cells = {label: _cell(values.get(shown.metric), shown.decimals) for label, values in merged.items()}
    rivals = {
        label: float(cell.value)
        for label, cell in cells.items()
        if cell.value not in ("", INFINITE) and not (shown.beside_original and label in originals)
    }
    better, best = _better(shown, merged), None
    if shown.contest and better is not None and len(set(rivals.values())) > 1:
        best = max(rivals.values()) if better else min(rivals.values())
    return [replace(cell, best=best is not None and rivals.get(label) == best) for label, cell in cells.items()]


def _cell(metric: MetricValue | None, decimals: int) -> Cell:
    if metric is None or metric.value is None:
        return Cell(INFINITE if metric is not None and metric.note.startswith("infinite") else "")
    return Cell(number(metric.value, decimals), interval(metric.ci_low, metric.ci_high, decimals))


def number(value: float, decimals: int) -> str:
    """With so many digits after the point, and no minus before a zero."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def interval(low: float | None, high: float | None, decimals: int) -> str:
    """Bounds as "low, high"; "" where there are none, and no upper bound is infinity."""
    if low is None:
        return ""
    return f"{number(low, decimals)}, {INFINITE if high is None else number(high, decimals)}"


def _better(shown: Column, merged: Mapping[str, Mapping[str, MetricValue]]) -> bool | None:
    """Whether more is better; None where neither is."""
    return next((values[shown.metric].higher_is_better for values in merged.values() if shown.metric in values), None)
