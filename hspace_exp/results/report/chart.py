"""Line charts as inline SVG that a screen reader can name."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Okabe and Ito's palette: told apart without red-green vision.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a7f00", "#666666")

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 420, 240, 68, 12, 12, 40


@dataclass(frozen=True)
class Point:
    """One value with its interval, where there is one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


def line_chart(title: str, x_name: str, y_name: str, lines: Mapping[str, Sequence[Point]]) -> str:
    """An SVG with one line a name, interval bars, axes and a description in words."""
    points = [point for line in lines.values() for point in line]
    xs = _range([p.x for p in points])
    ys = _range([v for p in points for v in (p.y, p.low, p.high) if v is not None])

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - xs[0]) / (xs[1] - xs[0]) * (_WIDTH - _LEFT - _RIGHT)
        down = _TOP + (ys[1] - y) / (ys[1] - ys[0]) * (_HEIGHT - _TOP - _BOTTOM)
        return round(across, 1), round(down, 1)

    words = "; ".join(f"{n}: " + ", ".join(f"{p.y:.3g} at {p.x:g}" for p in line) for n, line in lines.items())
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(f"{title}. {words}")}">',
        f'<path class="axis" d="M{_LEFT} {_TOP}V{_HEIGHT - _BOTTOM}H{_WIDTH - _RIGHT}"/>',
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{html.escape(x_name)}</text>',
        f'<text transform="translate(16 {_HEIGHT / 2 - 10}) rotate(-90)" text-anchor="middle">',
        f"{html.escape(y_name)}</text>",
    ]
    parts += [
        f'<text x="{place(x, ys[0])[0]}" y="{_HEIGHT - 24}" text-anchor="middle">{x:g}</text>'
        for x in sorted({p.x for p in points})
    ]
    for y in ticks(*ys):
        left, down = place(xs[0], y)
        parts.append(f'<path class="rule" d="M{left} {down}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{down + 4}" text-anchor="end">{y:.4g}</text>')
    for i, line in enumerate(lines.values()):
        colour = COLOURS[i % len(COLOURS)]
        ordered = sorted(line, key=lambda p: p.x)
        path = " ".join(f"{x},{y}" for x, y in (place(p.x, p.y) for p in ordered))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for p in ordered:
            across, down = place(p.x, p.y)
            if p.low is not None and p.high is not None:
                ends = place(p.x, p.high)[1], place(p.x, p.low)[1]
                parts.append(f'<path d="M{across} {ends[0]}V{ends[1]}" stroke="{colour}"/>')
            parts.append(f'<circle cx="{across}" cy="{down}" r="3.5" fill="{colour}"/>')
    return "".join([*parts, "</svg>"])


def legend(names: Sequence[str]) -> str:
    """An SVG that says which colour of `line_chart` stands for which line."""
    parts, left = [], 6
    for i, name in enumerate(names):
        parts.append(f'<rect x="{left}" y="5" width="10" height="10" fill="{COLOURS[i % len(COLOURS)]}"/>')
        parts.append(f'<text x="{left + 15}" y="14">{html.escape(name)}</text>')
        left += 32 + 7 * len(name)
    words = html.escape(f"Colours: {', '.join(names)}")
    return "".join([f'<svg viewBox="0 0 {left} 20" role="img" aria-label="{words}">', *parts, "</svg>"])


def ticks(low: float, high: float) -> list[float]:
    """Three to eight round numbers between ``low`` and ``high``: multiples of 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10((high - low) / 4))
    step = next(s * power for s in (1, 2, 5, 10) if (high - low) / (s * power) <= 7)
    return [round(i * step, 12) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return low - room, high + room
