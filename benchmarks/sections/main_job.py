"""The whole main job of the embedded model in its demo protocol, as a user starts it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.bench import Bench
from benchmarks.command import timed_job
from benchmarks.findings import AT_MOST

LIMIT, CPU_LIMIT = 15.0, 300.0  # seconds, of a GPU and of two cores
REPEATS = 3
METHODS = ("focused", "lwim")
TINY = [
    "method=sdid", "protocol=smoke", "protocol.professions=[nurse]", "protocol.images_per_profession=2",
    "protocol.training_images=2", "protocol.training_steps=2", "protocol.num_inference_steps=2",
    "stages=[concepts,training,generation]",
]  # fmt: skip


def measure(bench: Bench) -> None:
    """Wall time of the command, start of Python and writing of files included; no run finds anything cached."""
    gpu = bench.device.type == "cuda"
    for method in bench.of_size(METHODS if gpu else METHODS[:1], ("sdid",)):
        name, runs = f"main job, demo protocol, {method}", list[dict[str, float]]()
        while len(runs) < bench.of_size(REPEATS if gpu else 1, 1):
            if runs and bench.left < 1.2 * max(sum(run.values()) for run in runs):
                bench.found.note(f"{method}: {len(runs)} runs, {bench.left:.0f} s were left.")
                break
            runs.append(_run(bench, method))
            _say(bench, f"{method}, run {len(runs)}", runs[-1])
        stages = {stage: round(median(run[stage] for run in runs), 1) for stage in runs[0]}
        seconds = bench.found.measure(name, [sum(run.values()) for run in runs], stages=stages)
        bench.found.bar(name, seconds, LIMIT if gpu else CPU_LIMIT, AT_MOST, "s")


def _run(bench: Bench, method: str) -> dict[str, float]:
    """Seconds of each stage of one run, which add up to those of its command."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        options = TINY if bench.tiny else [f"method={method}", "trainer=exact"]
        options = [*options, f"device={bench.device.type}"]
        options += [f"paths.cache={place / 'cache'}", f"hydra.run.dir={place / 'run'}"]
        longest = 240.0 if bench.device.type == "cuda" else 1200.0
        seconds, done = timed_job(options, max(10.0, min(longest, bench.left)))
        if done.returncode:
            bench.found.note(f"{method} failed: {done.stderr.strip()[-800:]}")
            raise RuntimeError(f"the main job of {method} ended with {done.returncode}")
        record = place / "run" / "record.json"
        stages = json.loads(record.read_text(encoding="utf-8"))["seconds"] if record.exists() else {}
    return {**stages, "start and end": seconds - sum(stages.values())}  # mostly imports


def _say(bench: Bench, which: str, stages: dict[str, float]) -> None:
    spent = ", ".join(f"{stage} {value:.1f}" for stage, value in stages.items() if value >= 0.05)
    bench.found.note(f"{which}: {sum(stages.values()):.1f} s ({spent}).")
