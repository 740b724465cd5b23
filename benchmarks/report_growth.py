"""How cost grows, as tables and as one picture: a column for each thing that grows, time above memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.markdown import table
from hspace_exp.results.report.chart import COLOURS, Point, line_chart

OVERS = ("batch", "image size", "concepts", "professions", "GPUs")
NAMESPACE = "http://www.w3.org/2000/svg"
STYLE = (
    "<style>text{font:12px system-ui,sans-serif;fill:#1b1b1f}.axis{fill:none;stroke:#5c5c66}"
    ".rule{fill:none;stroke:#d7d7de}</style>"
)
_WIDTH, _HEIGHT, _HEAD = 420, 240, 22


def growing(measures: Sequence[Mapping[str, Any]], over: str) -> dict[str, list[Mapping[str, Any]]]:
    """Readings against ``over``, by what was timed, in order."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for m in sorted((m for m in measures if m.get("over") == over), key=lambda m: m["x"]):
        found.setdefault(m["name"].removesuffix(f", {over}"), []).append(m)
    return found


def growth_tables(measures: Sequence[Mapping[str, Any]]) -> str:
    """One table for each thing that grows."""
    parts = []
    for over in OVERS:
        rows = [
            (
                f"{m['x']}",
                name,
                f"{1e3 * m['median']:.4g}",
                f"{1e3 * m['median'] / m['images']:.4g}" if m.get("images") else "-",
                f"{m['peak_gib']:.1f}" if "peak_gib" in m else "-",
            )
            for name, own in growing(measures, over).items()
            for m in own
        ]
        if rows:
            parts.append(table((over, "", "ms", "ms an image", "peak GiB"), rows))
    return "\n".join(parts)


def growth_plot(measures: Sequence[Mapping[str, Any]]) -> str:
    """An SVG file; empty without readings.

    Time is that of an image as a share of the first reading's, so that unlike things fit one picture; memory is in GiB.
    """
    columns = [(over, own) for over in OVERS if (own := growing(measures, over))]
    if not columns:
        return ""
    parts = []
    for column, (over, own) in enumerate(columns):
        times = {name: [Point(m["x"], _each(m) / _each(some[0])) for m in some] for name, some in own.items()}
        memory = {
            name: [Point(m["x"], m["peak_gib"]) for m in some if "peak_gib" in m]
            for name, some in own.items()
            if any("peak_gib" in m for m in some)
        }
        left = column * _WIDTH
        for row, (what, lines) in enumerate((("time an image, share of the first", times), ("peak GiB", memory))):
            if lines:
                chart = line_chart(f"{what} against {over}", over, what, lines)
                top = _HEAD + row * _HEIGHT
                place = f'<svg x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}"'
                parts.append(chart.replace("<svg", place, 1))
        parts += [
            f'<text x="{left + 70 + 150 * i}" y="15" style="fill:{COLOURS[i % len(COLOURS)]}">{name}</text>'
            for i, name in enumerate(own)
        ]
    width, height = len(columns) * _WIDTH, _HEAD + 2 * _HEIGHT
    return (
        f'<svg xmlns="{NAMESPACE}" viewBox="0 0 {width} {height}">{STYLE}'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _each(measure: Mapping[str, Any]) -> float:
    return float(measure["median"] / measure.get("images", 1))
