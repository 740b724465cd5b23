"""``python -m benchmarks.report results.json …``: docs/performance.md and its plot, every number from the JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hspace_exp.atomic import write_text
from hspace_exp.errors import UserError
from hspace_exp.report.chart import Point, line_chart

TITLES = {
    "released_training": "Training, against the code released with the paper",
    "sdid_training": "Training, against SDID's step",
    "concepts_at_once": "Several concepts at once",
    "generation": "Edited images",
    "utilisation": "Share of the matrix units' speed",
    "main_job": "The whole main job, embedded model, demo protocol",
    "growth": "How cost grows",
    "several_devices_images": "Several devices: images of full size",
    "several_devices_job": "Several devices: the whole main job, embedded model",
}
OVERS = ("batch", "image size", "concepts", "professions")
NAMESPACE = "http://www.w3.org/2000/svg"
STYLE = (
    "<style>text{font:12px system-ui,sans-serif;fill:#1b1b1f}.axis{fill:none;stroke:#5c5c66}"
    '.rule{fill:none;stroke:#d7d7de}</style><rect width="100%" height="100%" fill="#fff"/>'
)
HEAD = """# Performance

Written by `python -m benchmarks.report`; how it is measured stands in `benchmarks/README.md`.
"""


def page(results: Mapping[str, Any], plot: str = "", more: Sequence[Mapping[str, Any]] = ()) -> str:
    """The Markdown of results.

    Args:
        results: of one command.
        plot: file name of the plot of growth.
        more: of further commands, whose sections follow with what they were measured on.
    """
    lines = [HEAD]
    if any(some["made"]["rehearsal"] for some in (results, *more)):
        lines.append("**A rehearsal at toy size: no number below means anything.**\n")
    joined = {name: section for some in (results, *more) for name, section in some["sections"].items()}
    lines += [_made(results["made"]), _bars(joined)]
    for some in (results, *more):
        if some is not results:
            lines += ["## Measured apart\n" if some is more[0] else "", _made(some["made"])]
        for name, title in TITLES.items():
            if name in some["sections"]:
                lines += [f"## {title}\n", _section(name, some["sections"][name], plot)]
    return "\n".join(lines).rstrip() + "\n"


def _made(made: Mapping[str, Any]) -> str:
    git = made["git"] or {}
    commit = f"commit `{str(git.get('commit', 'unknown'))[:12]}`" + (" with changes" if git.get("dirty") else "")
    packages = ("python", "torch", "cuda", "cudnn", "diffusers", "transformers", "lightning")
    versions = ", ".join(f"{name} {made['versions'][name]}" for name in packages if name in made["versions"])
    return (
        f"{made['device']}; {versions}; {commit}; {made['started'][:10]}, {made['seconds']:.0f} s. "
        f"`{made['command']}`.\n"
        "Models have the published shapes and random weights. Numbers are medians over repeats, after a warm-up.\n"
    )


def _bars(sections: Mapping[str, Any]) -> str:
    rows = [
        (bar["name"], f"{bar['value']:.3g} {bar['unit']}", f"{bar['sense']} {bar['limit']:g} {bar['unit']}", _held(bar))
        for name in TITLES
        for bar in sections.get(name, {}).get("bars", ())
    ]
    return "## Bars\n\n" + table(("", "measured", "asked for", ""), rows)


def _held(bar: Mapping[str, Any]) -> str:
    return "held" if bar["held"] else "**missed**"


def _section(name: str, section: Mapping[str, Any], plot: str) -> str:
    parts = []
    if section["status"] != "done":
        parts.append(f"**{section['status']}** {section['error']}\n")
    measures = section["measures"]
    if name == "growth":
        parts += [_growth(measures), f"![time against batch, image size and concepts]({plot})\n" if plot else ""]
    elif measures:
        parts.append(_measures(measures))
    parts += [f"- {note}" for note in section["notes"]] + [""]
    return "\n".join(parts)


def _measures(measures: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            m["name"],
            f"{m['median']:.4g} {m['unit']}",
            f"{m['low']:.4g} to {m['high']:.4g}" if m["repeats"] > 1 else "-",
            str(m["repeats"]),
            f"{m['images'] / m['median']:.4g}" if m.get("images") else "-",
            f"{m['peak_gib']:.1f}" if "peak_gib" in m else "-",
            f"{m['share_of_peak']:.1f} %" if "share_of_peak" in m else "-",
        )
        for m in measures
    ]
    columns = ("", "median", "range", "repeats", "images/s", "peak GiB", "of the bf16 peak")
    used = [i for i in range(len(columns)) if not rows or any(row[i] != "-" for row in rows)]
    return table([columns[i] for i in used], [[row[i] for i in used] for row in rows])


def _growth(measures: Sequence[Mapping[str, Any]]) -> str:
    """One table for each thing that grows."""
    parts = []
    for over in OVERS:
        own = [m for m in measures if m.get("over") == over]
        rows = [
            (
                f"{m['x']}",
                m["name"].removesuffix(f", {over}"),
                f"{1e3 * m['median']:.4g}",
                f"{1e3 * m['median'] / m['images']:.4g}",
                f"{m['peak_gib']:.1f}" if "peak_gib" in m else "-",
            )
            for m in sorted(own, key=lambda m: (m["name"], m["x"]))
        ]
        if rows:
            parts.append(table((over, "", "ms", "ms an image", "peak GiB"), rows))
    return "\n".join(parts)


def growth_plot(measures: Sequence[Mapping[str, Any]]) -> str:
    """An SVG file: time of a training step for each image, against one image or concept at a time."""
    lines = {}
    for over in ("batch", "concepts"):
        own = sorted((m["x"], m["median"] / m["images"]) for m in measures if m["name"] == f"training step, {over}")
        if own:
            lines[over] = [Point(x, seconds / own[0][1]) for x, seconds in own]
    if not lines:
        return ""
    colours = " and ".join(f"{over} ({colour})" for over, colour in zip(lines, ("blue", "orange"), strict=False))
    chart = line_chart("Time an image", colours, "time an image, share of that at 1", lines)
    opening, rest = chart.split(">", 1)
    return opening.replace("<svg", f'<svg xmlns="{NAMESPACE}"', 1) + ">" + STYLE + rest + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; text to the left, the rest to the right."""
    rule = "|---" + "|--:" * (len(head) - 1) + "|"
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], rule, *lines[1:], ""])


def main(words: Sequence[str]) -> int:
    """Write the page and the plot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("docs/performance.md"))
    a = parser.parse_args(words)
    found = []
    for file in a.results:
        try:
            found.append(json.loads(file.read_text(encoding="utf-8")))
            found[-1]["sections"].get("growth", {})
        except (OSError, ValueError, KeyError, TypeError) as error:
            print(UserError(f"{file} holds no results of benchmarks ({error}): measure them first"), file=sys.stderr)
            return 2
    results, *more = found
    measures = results["sections"].get("growth", {}).get("measures", [])
    picture, plot = growth_plot(measures), a.out.with_name(f"{a.out.stem}_growth.svg")
    if picture:
        write_text(plot, picture)
    write_text(a.out, page(results, plot.name if picture else "", more))
    print(a.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
