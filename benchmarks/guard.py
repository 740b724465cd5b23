"""``python -m benchmarks.guard OUT.json``: what every method leaves with ``protocol=smoke``, to the bit.

Run it before and after a change that is to change nothing, then ``python -m benchmarks.guard BEFORE.json AFTER.json``.
It reads files only, so that it can be laid into an older checkout. Equal numbers are promised on one machine alone.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

COMMAND = (sys.executable, "-m", "hspace_exp", "-m", "protocol=smoke", "logger=none", "device=cpu")
# What is run beside every method: a composition, an attribute of three concepts, other masks and low-pass filters.
FURTHER: tuple[tuple[str, ...], ...] = (
    ("+experiment=composition", "attribute=gender_age", "method=focused,sdid"),
    ("+experiment=skin_tone_fairness", "method=focused"),
    ("+experiment=gender_fairness", "method=lwim", "mask=attention", "frequency=fft"),
)
# Metrics may differ by rounding where a library took a formula over; vectors and images may not.
TOLERANCE = 1e-4


def methods(root: Path) -> list[str]:
    """Names of all methods of a checkout."""
    return sorted(path.stem for path in (root / "conf" / "method").glob("*.yaml"))


def run_all(root: Path, chosen: Sequence[str]) -> dict[str, Any]:
    """Run every method and describe what each run left, by the run's folder."""
    with tempfile.TemporaryDirectory() as made:
        common = (f"paths.cache={made}/cache", f"hydra.sweep.dir={made}/runs")
        jobs = [("+experiment=gender_fairness", "method=" + ",".join(chosen)), *FURTHER]
        for job in jobs:
            subprocess.run([*COMMAND, *common, *_without_sweep(job)], cwd=root, check=True)
        runs = sorted(path.parent for path in Path(made, "runs").rglob("record.json"))
        return {str(run.relative_to(Path(made, "runs"))): describe(run) for run in runs}


def describe(run: Path) -> dict[str, Any]:
    """Digest, vectors, images and numbers of one finished run."""
    record = json.loads((run / "record.json").read_text("utf-8"))
    vectors = {path.stem: _tensors(path) for path in sorted((run / "concepts").glob("*.safetensors"))}
    images = {
        str(path.relative_to(run)): hashlib.sha256(np.asarray(Image.open(path)).tobytes()).hexdigest()
        for path in sorted((run / "images").rglob("*.png"))
    }
    values = {name: metric["value"] for name, metric in record["metrics"].items()}
    return {"config_digest": record["config_digest"], "vectors": vectors, "images": images, "metrics": values}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What must not differ and does, and what may: digests, and metrics that only one side has."""
    wrong = [f"{run}: is missing" for run in before if run not in after]
    noted = [f"{run}: is new" for run in after if run not in before]
    for run in sorted(set(before) & set(after)):
        old, new = before[run], after[run]
        wrong += [f"{run}: {kind} differ" for kind in ("vectors", "images") if old[kind] != new[kind]]
        if old["config_digest"] != new["config_digest"]:
            noted.append(f"{run}: digest {old['config_digest']} is {new['config_digest']}")
        for name, value in old["metrics"].items():
            if name not in new["metrics"]:
                noted.append(f"{run}: has no {name}")
            elif not _alike(value, new["metrics"][name]):
                wrong.append(f"{run}: {name} {value} is {new['metrics'][name]}")
    return wrong, noted


def _alike(a: float | None, b: float | None) -> bool:
    return a == b or (a is not None and b is not None and abs(a - b) <= TOLERANCE * max(1.0, abs(a)))


def _tensors(path: Path) -> str:
    found = load_file(path)
    return hashlib.sha256(b"".join(name.encode() + found[name].tobytes() for name in sorted(found))).hexdigest()


def _without_sweep(job: tuple[str, ...]) -> list[str]:
    """An experiment's own sweep would multiply the jobs."""
    return [*job, "hydra.sweeper.params=null"] if job[0] == "+experiment=composition" else list(job)


def main(arguments: Sequence[str]) -> int:
    """Describe this checkout, or compare two descriptions."""
    paths = [Path(argument) for argument in arguments]
    if len(paths) == 1:
        paths[0].write_text(json.dumps(run_all(Path.cwd(), methods(Path.cwd())), indent=1) + "\n", "utf-8")
        return 0
    if len(paths) != 2:
        print(__doc__)
        return 2
    wrong, noted = differences(*(json.loads(path.read_text("utf-8")) for path in paths))
    print("\n".join([*(f"may differ: {line}" for line in noted), *(f"DIFFERS: {line}" for line in wrong)]) or "equal")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
