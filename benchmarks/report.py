"""``python -m benchmarks.report results.json …``: docs/performance.md and its plot, every number from the JSON."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.markdown import table
from benchmarks.report_growth import growing, growth_plot, growth_tables
from benchmarks.report_memory import memory_section
from benchmarks.result_files import ON_CPU, Results, newest, read
from hspace_exp.errors import UserError
from hspace_exp.io.atomic import write_text

TITLES = {
    "start_up": "Before a command does anything",
    "released_training": "Training, against the code released with the paper",
    "sdid_training": "Training, against SDID's step",
    "concepts_at_once": "Several concepts at once",
    "generation": "Edited images",
    "fair_batch": "Fair batches",
    "slider": "The studio's slider",
    "utilisation": "Share of the matrix units' speed",
    "main_job": "The whole main job, embedded model, demo protocol",
    "several_devices_images": "Several GPUs: large images",
    "several_devices_job": "Several GPUs: the whole main job",
    "several_devices_sweep": "Several GPUs: a sweep of four jobs",
    "several_devices_killed": "Several GPUs: a process is killed while images are made",
    "growth": "How cost grows",
}
HEAD = """# Performance

Written by `python -m benchmarks.report`; how it is measured stands in `benchmarks/README.md`. Models have the published
shapes and random weights. Numbers are medians over repeats, after a warm-up. A section that was measured more than once
shows its newest whole reading.
"""
PACKAGES = ("python", "torch", "cuda", "cudnn", "diffusers", "transformers", "lightning")


def page(results: Sequence[Results], plot: str = "") -> str:
    """The Markdown of ``results``; ``plot`` is the file name of the plot of growth."""
    lines, shown = [HEAD], newest(results)
    if any(one.made.get("rehearsal") for one in results):
        lines.append("**A rehearsal at toy size: no number below means anything.**\n")
    lines += ["## Bars\n", _bars(shown), "Runs:\n", _runs(results)]
    known = [name for title in TITLES for name in (title, f"{title}{ON_CPU}") if name in shown]
    for name in dict.fromkeys([*known, *shown]):
        where, section = shown[name]
        title = TITLES.get(name.removesuffix(ON_CPU), name.removesuffix(ON_CPU)) + ON_CPU * name.endswith(ON_CPU)
        lines += [f"## {title}\n", f"`{where.name}`: {where.made['device']}.\n", _section(section)]
        if plot and any(growing(section["measures"], over) for over in ("batch", "concepts")):
            lines.append(f"![time and memory against what grows]({plot})\n")
    memory = memory_section([one for one in results if one.jobs])
    if memory:
        lines += ["## Memory of the whole main job, full-size models\n", memory]
    return "\n".join(lines).rstrip() + "\n"


def _bars(shown: Mapping[str, tuple[Results, Mapping[str, Any]]]) -> str:
    rows = [
        (
            bar["name"],
            "-" if bar["value"] is None else f"{bar['value']:.3g} {bar['unit']}",
            f"{bar['sense']} {bar['limit']:g} {bar['unit']}",
            _held(bar),
            where.made["device"],
            f"`{where.name}`",
        )
        for name in [*TITLES, *(other for other in shown if other not in TITLES)]
        if name in shown
        for where, section in [shown[name]]
        for bar in section["bars"]
    ]
    return table(("bar", "measured", "asked for", "", "device", "run"), rows)


def _held(bar: Mapping[str, Any]) -> str:
    if bar["value"] is None:
        return "**not measured**"
    return "held" if bar["held"] else "**missed**"


def _runs(results: Sequence[Results]) -> str:
    rows = []
    for one in results:
        made = one.made
        versions = ", ".join(f"{name} {made['versions'][name]}" for name in PACKAGES if name in made["versions"])
        took = f"{made['seconds']:.0f} s" if "seconds" in made else "-"
        rows.append(
            (
                f"`{one.name}`",
                one.commit,
                one.started[:10] or "-",
                took,
                made["device"],
                f"`{made['command']}`",
                versions,
            )
        )
    return table(("run", "commit", "date", "took", "device", "command", "versions"), rows)


def _section(section: Mapping[str, Any]) -> str:
    parts = []
    if section["status"] != "done":
        parts.append(f"**{section['status']}** {section['error']}\n")
    measures = section["measures"]
    plain = [m for m in measures if "over" not in m]
    if plain:
        parts.append(_measures(plain))
    if len(plain) < len(measures):
        parts.append(growth_tables(measures))
    parts += [textwrap.fill(f"- {note}", 150, subsequent_indent="  ") for note in section["notes"]] + [""]
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


def main(words: Sequence[str]) -> int:
    """Write the page and the plot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="JSON of benchmarks.run or benchmarks.full_size")
    parser.add_argument("--out", type=Path, default=Path("docs/performance.md"))
    a = parser.parse_args(words)
    try:
        results = [read(path) for path in a.results]
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    measures = [m for _, section in newest(results).values() for m in section["measures"]]
    picture, plot = growth_plot(measures), a.out.with_name(f"{a.out.stem}_growth.svg")
    if picture:
        write_text(plot, picture)
    write_text(a.out, page(results, plot.name if picture else ""))
    print(a.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
