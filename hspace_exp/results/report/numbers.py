"""Numbers of a report: the few that matter first, the comparison with intervals, all of them, bars of professions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from hspace_exp.evaluation.value import MetricValue
from hspace_exp.results.report.chart import COLOURS
from hspace_exp.results.report.collect import Run
from hspace_exp.results.tables.build import Table
from hspace_exp.results.tables.columns import column

HEADLINES = ("deviation_ratio", "success", "clip_alignment", "background_ssim", "scene_kept", "entanglement", "fid")


def headlines(run: Run) -> str:
    """The few numbers that say how a run went, each with its interval."""
    cards = []
    for name in HEADLINES:
        metric = run.record.metrics.get(name)
        if metric is None or metric.value is None:
            continue
        shown = column(name)
        arrow = (
            ""
            if metric.higher_is_better is None
            else ", more is better"
            if metric.higher_is_better
            else ", less is better"
        )
        cards.append(
            f"<div><dt>{escape(shown.heading)}{arrow}</dt>"
            f"<dd><b>{_number(metric.value, shown.decimals)}</b> {_interval(metric, shown.decimals)}</dd></div>"
        )
    return f'<dl class="cards">{"".join(cards)}</dl>'


def comparison(table: Table) -> str:
    """A table of methods against metrics, with what stands below it."""
    parts = []
    for block in table.blocks:
        heads = [f"{c.heading} {a}".strip() for c, a in zip(block.columns, block.arrows, strict=True)]
        rows = []
        for label, cells in zip(table.rows, block.cells, strict=True):
            texts = [
                (f"<strong>{escape(c.value)}</strong>" if c.best else escape(c.value) or "–")
                + (f" <small>[{escape(c.interval)}]</small>" if c.interval else "")
                for c in cells
            ]
            rows.append(_row(label, texts))
        parts.append(html_table(block.title, ["Method", *heads], rows))
    foot = "".join(f'<li class="foot">{_code(line)}</li>' for line in table.footers)
    return f"{''.join(parts)}<ul>{foot}</ul>"


def everything(run: Run) -> str:
    """All metrics of a run with both intervals, N and notes."""
    rows = []
    for name, metric in run.record.metrics.items():
        digits = column(name).decimals + 1
        value = "–" if metric.value is None else _number(metric.value, digits)
        over = MetricValue(metric.value, metric.ci_low_professions, metric.ci_high_professions, 0, None)
        cells = [
            value,
            _interval(metric, digits),
            _interval(over, digits),
            str(metric.n),
            f'<div class="note">{escape(metric.note)}</div>',
        ]
        rows.append(_row(name, cells))
    heads = ["Metric", "Value", "95 % over images", "95 % over professions", "N", "Note"]
    return html_table("All metrics", heads, rows)


def professions(run: Run) -> str:
    """Bars of the classes that each profession's images show, before and after, with the numbers in words."""
    record = run.record
    values = list(dict.fromkeys(v for row in record.per_profession for v in row.get("counts", {})))
    if not values:
        return ""
    before: dict[str, Counter[str]] = {}
    for pair in run.pairs:
        seen = run.seen(pair)
        if seen is not None and run.edited:
            before.setdefault(pair.profession, Counter())[seen[0]] += 1
    keys = "".join(
        f'<span class="key" style="background:{COLOURS[i % len(COLOURS)]}"></span>{escape(v)}'
        for i, v in enumerate(values)
    )
    rows = []
    for row in record.per_profession:
        cells = (
            [_stack(values, before[row["profession"]], None)] if row["profession"] in before else [""] * bool(before)
        )
        cells.append(_stack(values, row.get("counts", {}), row.get("truth")))
        cells += [_number(row.get(name), 2) for name in ("deviation_ratio", "success")]
        rows.append(_row(str(row["profession"]), cells, bars=len(cells) - 2))
    heads = [
        "Profession",
        *(["Before"] if before else []),
        "After" if before else "Images",
        "Deviation ratio",
        "Success",
    ]
    note = (
        " A dashed line is the share of the first in the data."
        if any("truth" in r for r in record.per_profession)
        else ""
    )
    caption = f"What the images of each profession present, in the eyes of the judge.{note}"
    return f"<p>{keys}</p>{html_table(caption, heads, rows)}"


def matrix(title: str, rows: Mapping[str, Mapping[str, Any]], corner: str) -> str:
    """A table of rows of named numbers."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    body = [_row(label or "(nothing)", [_number(row.get(name), 3) for name in names]) for label, row in rows.items()]
    return html_table(title, [corner, *names], body)


def confusion(found: Mapping[str, Any]) -> str:
    """The judge's answers on images of known truth."""
    values = [str(v) for v in found["values"]]
    rows = [_row(v, [str(n) for n in counts]) for v, counts in zip(values, found["counts"], strict=True)]
    title = f"Judge {found['judge']!r} on images of known {found['attribute']}: rows are the truth, columns what it saw"
    return html_table(title, ["Truth", *values, "unclear"], rows)


def html_table(caption: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    """A table whose heads are marked as such; ``rows`` are HTML."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(rows)
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(label: str, cells: Sequence[str], bars: int = 0) -> str:
    kinds = [' class="bar"' if i < bars else "" for i in range(len(cells))]
    inner = "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, cells, strict=True))
    return f'<tr><th scope="row">{escape(label)}</th>{inner}</tr>'


def _stack(values: Sequence[str], counts: Mapping[str, int], truth: Mapping[str, float] | None) -> str:
    total = sum(counts.get(v, 0) for v in values)
    widths = [100 * counts.get(v, 0) / max(total, 1) for v in values]
    styles = [f"width:{width:.1f}%;background:{COLOURS[i % len(COLOURS)]}" for i, width in enumerate(widths)]
    parts = "".join(f'<span style="{style}"></span>' for style in styles)
    mark = f'<i style="left:{100 * truth[values[0]]:.1f}%"></i>' if truth else ""
    words = ", ".join(f"{counts.get(v, 0)} {v}" for v in values)
    return f'<div class="stack" aria-hidden="true">{parts}{mark}</div><small>{escape(words)}</small>'


def _number(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}"


def _interval(metric: MetricValue, decimals: int) -> str:
    if metric.ci_low is None:
        return ""
    high = "∞" if metric.ci_high is None else _number(metric.ci_high, decimals)
    return f"<small>[{_number(metric.ci_low, decimals)}, {high}]</small>"


def _code(text: str) -> str:
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces))
