"""``python -m benchmarks.run --out results.json``: measure everything, and keep what is found as it is found."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from benchmarks.bench import Bench, within
from benchmarks.command import command
from benchmarks.findings import Findings
from hspace_exp.errors import unknown
from hspace_exp.io.atomic import write_json
from hspace_exp.models.devices import resolve_device
from hspace_exp.results.record import describe_device, git_state, versions

# The quick and sure ones first, compilers last; seconds that a section is not begun without, on an H100.
SECTIONS = {
    "start_up": 150.0,
    "concepts_at_once": 20.0,
    "sdid_training": 40.0,
    "main_job": 60.0,
    "generation": 50.0,
    "fair_batch": 40.0,
    "slider": 30.0,
    "growth": 50.0,
    "released_training": 100.0,
    "utilisation": 60.0,
}


HELD = {True: "held  ", False: "MISSED", None: "not measured"}


def made(module: str, words: Sequence[str], device: torch.device, rehearsal: bool) -> dict[str, Any]:
    """Where, with what and how results are made, as they will say."""
    return {
        "device": describe_device(device),
        "versions": versions() | {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())},
        "git": git_state(),
        "command": command(module, words),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "rehearsal": rehearsal,
    }


def main(words: Sequence[str]) -> int:
    """Run the sections asked for; returns 1 where one of them failed."""
    a = _arguments(words)
    started = time.monotonic()
    names = a.only or list(SECTIONS)
    device = resolve_device("cpu" if a.tiny and a.device == "auto" else a.device)
    sections: dict[str, Findings] = {}
    about = made("benchmarks.run", words, device, a.tiny)

    def save() -> None:
        found = {name: some.plain() for name, some in sections.items()}
        write_json(a.out, {"made": {**about, "seconds": round(time.monotonic() - started, 1)}, "sections": found})

    for name in names:
        found = sections[name] = Findings(changed=save)
        bench = Bench(device, a.tiny, started + a.max_seconds, found, sections)
        if bench.left < bench.of_size(SECTIONS[name], 1.0):
            found.status = "left out"
            found.note(f"{bench.left:.0f} s were left")
            continue
        print(f"{name} … ({bench.left:.0f} s left)", flush=True)
        run_section(name, bench)
        save()
        say(found)
    save()
    return int(any(found.status == "failed" for found in sections.values()))


def run_section(name: str, bench: Bench) -> None:
    """Measure one section."""
    run_measure(lambda own: import_module(f"benchmarks.sections.{name}").measure(own), bench)


def run_measure(measure: Callable[[Bench], None], bench: Bench) -> None:
    """Call what measures; a failure is kept beside what it found before."""
    found, started = bench.found, time.monotonic()
    try:
        with nullcontext() if bench.tiny else within(bench.left):
            measure(bench)
        found.status = "done"
    except Exception as error:  # one section's failure must not cost the others
        found.status, found.error = "failed", f"{type(error).__name__}: {str(error)[:500]}"
        traceback.print_exc()
    found.seconds = time.monotonic() - started
    bench.free()


def say(found: Findings) -> None:
    """Print what a section found."""
    for measure in found.measures:
        name = f"{measure['name']} {measure.get('x', '')}".rstrip()
        print(f"  {name}: {measure['median']:.4g} {measure['unit']}{_beside(measure)}")
    for bar in found.bars:
        value = "-" if bar.value is None else f"{bar.value:.3g} {bar.unit}"
        print(f"  {HELD[bar.held]} {bar.name}: {value} ({bar.sense} {bar.limit:g})")
    for text in found.notes:
        print(f"  {text}")
    print(f"  {found.status} in {found.seconds:.0f} s {found.error}", flush=True)


def _beside(measure: Mapping[str, Any]) -> str:
    rate = f", {measure['images'] / measure['median']:.4g} images/s" if measure.get("images") else ""
    memory = f", {measure['peak_gib']} GiB" if "peak_gib" in measure else ""
    share = f", {measure['share_of_peak']:.1f} % of the peak" if "share_of_peak" in measure else ""
    return rate + memory + share


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="JSON that is written after every reading")
    parser.add_argument("--only", type=_names, help=f"sections, joined by commas: {', '.join(SECTIONS)}")
    parser.add_argument("--tiny", action="store_true", help="rehearse at toy size; no number means anything")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--max-seconds", type=float, default=590.0, help="sections that do not fit are left out")
    return parser.parse_args(words)


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in SECTIONS:
            raise argparse.ArgumentTypeError(str(unknown("section", name, SECTIONS)))
    return names


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
