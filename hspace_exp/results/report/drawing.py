"""SVG charts as files of their own: several in one, with the style that a page would give them."""

from __future__ import annotations

import re
from collections.abc import Sequence

_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1b1b1f}.title{font-weight:600;font-size:13px}"
    ".axis{fill:none;stroke:#5c5c66}.rule{fill:none;stroke:#d7d7de}.reach{fill:none;stroke:#1b1b1f;stroke-width:1.4}"
)
_BOX = re.compile(r'^<svg viewBox="0 0 ([\d.]+) ([\d.]+)"')
_GAP = 16


def drawing(charts: Sequence[str], columns: int = 2, above: str = "") -> str:
    """One SVG file of charts that begin with ``<svg viewBox="0 0 width height"``, side by side in rows.

    Args:
        charts: at least one.
        columns: charts in a row.
        above: a chart before them that has a row of its own, e.g. a legend.
    """
    sizes = [_size(chart) for chart in charts]
    columns = min(columns, len(charts))
    widths = [max(w for w, _ in sizes[c::columns]) for c in range(columns)]
    lines = [range(start, min(start + columns, len(charts))) for start in range(0, len(charts), columns)]
    parts, top = list[str](), _GAP
    if above:
        width, height = _size(above)
        parts.append(f'<svg x="{_GAP}" y="{top}" width="{width:g}" height="{height:g}"{above[4:]}')
        top += int(height) + _GAP
    for line in lines:
        left = _GAP
        for c, i in enumerate(line):
            width, height = sizes[i]
            parts.append(f'<svg x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}"{charts[i][4:]}')
            left += int(widths[c]) + _GAP
        top += int(max(sizes[i][1] for i in line)) + _GAP
    whole = int(max(sum(widths) + _GAP * (columns - 1), _size(above)[0] if above else 0)) + 2 * _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {top}" width="{whole}" height="{top}">'
        f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _size(chart: str) -> tuple[float, float]:
    found = _BOX.match(chart)
    if found is None:
        raise ValueError(f"expected a chart with a viewBox that starts at 0 0, got {chart[:60]!r}")
    return float(found[1]), float(found[2])
