"""A matrix of numbers from -1 to 1 as coloured squares in SVG."""

from __future__ import annotations

import html
from collections.abc import Mapping

_LEFT, _TOP, _SIDE = 110, 46, 52
_POSITIVE, _NEGATIVE = (0, 114, 178), (213, 94, 0)  # of Okabe and Ito's palette


def heat_map(title: str, matrix: Mapping[str, Mapping[str, float]]) -> str:
    """An SVG of a square matrix: name → name → number in [-1, 1]; blue is positive, red negative, white zero."""
    names = list(matrix)
    width, height = _LEFT + _SIDE * len(names) + 8, _TOP + _SIDE * len(names) + 8
    words = "; ".join(f"{a} and {b}: {matrix[a][b]:.2f}" for i, a in enumerate(names) for b in names[i + 1 :])
    parts = [
        f'<svg viewBox="0 0 {max(width, 7 * len(title))} {height}" role="img" '
        f'aria-label="{html.escape(f"{title}. {words}")}">',
        f'<text class="title" x="6" y="16">{html.escape(title)}</text>',
    ]
    for r, a in enumerate(names):
        middle = _TOP + r * _SIDE + _SIDE / 2 + 4
        parts.append(f'<text x="{_LEFT - 8}" y="{middle}" text-anchor="end">{html.escape(a)}</text>')
        head = _LEFT + r * _SIDE + _SIDE / 2
        parts.append(f'<text x="{head}" y="{_TOP - 6}" text-anchor="middle">{html.escape(a)}</text>')
        for c, b in enumerate(names):
            x, y = _LEFT + c * _SIDE, _TOP + r * _SIDE
            value = matrix[a][b]
            ink = "#fff" if abs(value) > 0.6 else "#1b1b1f"
            parts.append(f'<rect x="{x}" y="{y}" width="{_SIDE - 2}" height="{_SIDE - 2}" fill="{_colour(value)}"/>')
            parts.append(
                f'<text x="{x + _SIDE / 2 - 1}" y="{middle}" text-anchor="middle" style="fill:{ink}">{value:.2f}</text>'
            )
    return "".join([*parts, "</svg>"])


def _colour(value: float) -> str:
    full = _POSITIVE if value >= 0 else _NEGATIVE
    share = min(abs(value), 1.0)
    return "#" + "".join(f"{round(255 + (channel - 255) * share):02x}" for channel in full)
