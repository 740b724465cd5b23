"""The whole main job of the embedded model in its demo protocol, as a user starts it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.command import timed_job
from benchmarks.findings import AT_MOST

LIMIT = 40.0
METHODS = ("focused", "lwim")
TINY = [
    "method=sdid", "protocol=smoke", "protocol.professions=[nurse]", "protocol.images_per_profession=2",
    "protocol.training_images=2", "protocol.training_steps=2", "protocol.num_inference_steps=2",
    "stages=[concepts,training,generation]",
]  # fmt: skip


def measure(bench: Bench) -> None:
    """Wall time of the command, start of Python and writing of files included; nothing is cached before."""
    for method in bench.of_size(METHODS, ("sdid",)):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            options = TINY if bench.tiny else [f"method={method}", "trainer=exact"]
            options = [*options, f"device={bench.device.type}"]
            options += [f"paths.cache={place / 'cache'}", f"hydra.run.dir={place / 'run'}"]
            seconds, done = timed_job(options, max(10.0, min(240.0, bench.left)))
            if done.returncode:
                bench.found.note(f"{method} failed: {done.stderr.strip()[-800:]}")
                raise RuntimeError(f"the main job of {method} ended with {done.returncode}")
            record = place / "run" / "record.json"
            stages = json.loads(record.read_text(encoding="utf-8"))["seconds"] if record.exists() else {}
            stages.pop("masks_per_image", None)  # a part of another one
            stages["start and end"] = seconds - sum(stages.values())  # mostly imports
            rounded = {stage: round(value, 1) for stage, value in stages.items()}
            bench.found.measure(f"main job, demo protocol, {method}", [seconds], stages=rounded)
            spent = ", ".join(f"{stage} {value:g}" for stage, value in rounded.items() if value)
            bench.found.note(f"{method}, seconds: {spent}.")
            bench.found.bar(f"main job, demo protocol, {method}", seconds, LIMIT, AT_MOST, "s")
