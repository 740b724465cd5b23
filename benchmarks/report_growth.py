"""How cost grows, as tables and as one picture: a column for each thing that grows, time above memory."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.markdown import table

OVERS = ("batch", "image size", "concepts", "professions", "GPUs")


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
    """An SVG file whose description tells the numbers; empty without readings.

    Time is that of an image as a share of the first reading's, so that unlike things fit one picture; memory is in GiB.
    """
    columns = [(over, own) for over in OVERS if (own := growing(measures, over))]
    if not columns:
        return ""
    fonts: dict[Any, Any] = {"svg.fonttype": "none", "font.size": 9, "font.sans-serif": ["DejaVu Sans"]}
    with mpl.rc_context(fonts | {"svg.hashsalt": "growth"}):
        figure = Figure((3.8 * len(columns), 5.2), layout="constrained")
        panels = figure.subplots(2, len(columns), squeeze=False)
        words = []
        for (time, memory), (over, own) in zip(panels.T, columns, strict=True):
            for name, some in own.items():
                shares = {m["x"]: _each(m) / _each(some[0]) for m in some}
                peaks = {m["x"]: m["peak_gib"] for m in some if "peak_gib" in m}
                for panel, curve in ((time, shares), (memory, peaks)):
                    if curve:
                        panel.plot(list(curve), list(curve.values()), "o-", label=name)
                        told = ", ".join(f"{y:.3g} at {x:g}" for x, y in curve.items())
                        words.append(f"{'GiB' if panel is memory else 'time'}, {name}, {over}: {told}")
            time.set(xlabel=over, ylabel="time an image, share of the first")
            memory.set(xlabel=over, ylabel="peak GiB")
            time.legend(frameon=False)
        data = io.StringIO()
        figure.savefig(data, format="svg", metadata={"Date": None, "Description": "; ".join(words)})
    head, end, drawing = data.getvalue().partition("</metadata>")
    # A hundredth of a point is enough, and lines are for nobody.
    return head + end + re.sub(r"\s*\n\s*", " ", re.sub(r"(\.\d\d)\d+", r"\1", drawing)) + "\n"


def _each(measure: Mapping[str, Any]) -> float:
    return float(measure["median"] / measure.get("images", 1))
