"""Horizontal bars with intervals as SVG that a screen reader can name."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hspace_exp.results.report.chart import COLOURS, ticks

_LEFT, _RIGHT, _TOP, _BOTTOM, _BAR, _SPACE, _PLOT = 210, 16, 34, 30, 11, 7, 300


@dataclass(frozen=True)
class Bar:
    """One value with its interval, where there is one; None is left empty."""

    value: float | None
    low: float | None = None
    high: float | None = None


def bar_chart(title: str, rows: Mapping[str, Sequence[Bar]], keys: Sequence[str] = ()) -> str:
    """An SVG with one row a name.

    Args:
        title: above the bars.
        rows: name → its bars, as many in every row; values of at least 0 start at the axis, others left of it.
        keys: what the bars of a row stand for, explained above them by colour; empty where there is one a row.
    """
    count = max(map(len, rows.values()))
    step = count * _BAR + _SPACE
    top = _TOP + (18 if keys else 0)
    width, height = _LEFT + _PLOT + _RIGHT, top + step * len(rows) + _BOTTOM
    numbers = [v for bars in rows.values() for b in bars for v in (b.value, b.low, b.high) if v is not None]
    least, most = min([0.0, *numbers]), max([0.0, *numbers])
    most = most if most > least else least + 1.0

    def across(x: float) -> float:
        return round(_LEFT + (x - least) / (most - least) * _PLOT, 1)

    words = "; ".join(
        f"{name}: " + ", ".join("none" if b.value is None else f"{b.value:.3g}" for b in bars)
        for name, bars in rows.items()
    )
    told = f"{title}. {', '.join(keys)}. {words}" if keys else f"{title}. {words}"
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(told)}">',
        f'<text class="title" x="6" y="16">{html.escape(title)}</text>',
    ]
    place = _LEFT
    for i, key in enumerate(keys):
        parts.append(f'<rect x="{place}" y="{_TOP - 6}" width="10" height="10" fill="{COLOURS[i % len(COLOURS)]}"/>')
        parts.append(f'<text x="{place + 14}" y="{_TOP + 3}">{html.escape(key)}</text>')
        place += 22 + 7 * len(key)
    if place > width:
        parts[0] = parts[0].replace(f"0 0 {width} ", f"0 0 {place} ")
    for x in ticks(least, most):
        parts.append(f'<path class="rule" d="M{across(x)} {top}V{height - _BOTTOM}"/>')
        parts.append(f'<text x="{across(x)}" y="{height - _BOTTOM + 15}" text-anchor="middle">{x:.4g}</text>')
    for r, (name, bars) in enumerate(rows.items()):
        start = top + r * step + _SPACE / 2
        middle = start + count * _BAR / 2 + 4
        parts.append(f'<text x="{_LEFT - 8}" y="{middle}" text-anchor="end">{html.escape(name)}</text>')
        for i, bar in enumerate(bars):
            if bar.value is None:
                continue
            ends = sorted((across(0.0), across(bar.value)))
            down = start + i * _BAR
            colour = COLOURS[i % len(COLOURS)]
            parts.append(
                f'<rect x="{ends[0]}" y="{down}" width="{max(ends[1] - ends[0], 1):.1f}" height="{_BAR - 2}" '
                f'fill="{colour}"/>'
            )
            if bar.low is not None and bar.high is not None:
                line = down + (_BAR - 2) / 2
                parts.append(f'<path class="reach" d="M{across(bar.low)} {line}H{across(bar.high)}"/>')
    parts.append(f'<path class="axis" d="M{across(0.0)} {top}V{height - _BOTTOM}"/>')
    return "".join([*parts, "</svg>"])
