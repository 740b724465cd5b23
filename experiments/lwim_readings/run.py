"""Readings of lwim where its sources are silent, one changed at a time, each at the strength that calibration finds.

    python experiments/lwim_readings/run.py --jobs 8 --set protocol=full
    python experiments/lwim_readings/run.py --list

Interrupted, the same command goes on. Records lie in ``results/``, validation numbers in their ``details.calibration``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
OBJECTIVE, NEUTRAL = "method.training.objective", "a photo of a person"
TRUST = "trust=[experiments.lwim_readings]"
# Row → its overrides; the first is lwim as conf/method has it.
READINGS: Mapping[str, Sequence[str]] = {
    "lwim": [],
    "m_floor_0_max": ["method=lwim_full_m"],
    "m_max": [f"{OBJECTIVE}.pool=max"],
    "m_floor_0": [f"{OBJECTIVE}.floor=0"],
    "m_hard": ["mask.soft=false"],
    "m_none": ["method=lwim_no_m"],
    "m_deviation": [TRUST, f"{OBJECTIVE}._target_=experiments.lwim_readings.ours.Centred"],
    "chi_none": ["method=lwim_no_chi"],
    "chi_all": [f"{OBJECTIVE}.scope=all"],
    "chi_all_noisy": [f"{OBJECTIVE}.scope=all", "method.training.timesteps=[600,1000]"],
    "chi_margin": ["method=lwim_margin"],
    "weight_none": ["method=lwim_no_weight"],
    "weight_4": [f"{OBJECTIVE}.beta=4"],
    "weight_10": [f"{OBJECTIVE}.beta=10"],
    "weight_map_alone": [f"{OBJECTIVE}.beta=1", f"++{OBJECTIVE}.alpha=0"],
    "low_none": ["method=lwim_no_lowfreq"],
    "low_each_half": ["++frequency.branch=both"],
    "low_0.2": ["frequency.weight=0.2"],
    "low_0.5": ["frequency.weight=0.5"],
    "low_1": ["frequency.weight=1"],
    "v_minus_neutral": [
        TRUST,
        "+method.edit={_target_: experiments.lwim_readings.ours.MinusNeutral}",
        # The place of a concept that is kept is given to the neutral prompt: what is kept is learnt with the others.
        f"attribute.keep.age.young={{positive: {NEUTRAL}, neutral: {NEUTRAL}, words: person}}",
        *("~attribute.keep.age.old", "~attribute.keep.skin_tone"),
        "mask.heat=attention",  # as the neutral prompt differs from itself nowhere
    ],
    "target_model": [TRUST, f"{OBJECTIVE}._target_=experiments.lwim_readings.ours.ModelTarget"],
}


def main() -> None:
    """Run the readings that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readings", nargs="*", help=f"of {', '.join(READINGS)}; all by default")
    parser.add_argument("--jobs", type=int, default=1, help="at a time (default: 1)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of every run, e.g. protocol=smoke")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--list", action="store_true", help="print the overrides of each reading and end")
    a = parser.parse_args()
    if a.list:
        for name, overrides in READINGS.items():
            print(name, *overrides)
        return
    if foreign := set(a.readings).difference(READINGS):
        sys.exit(f"error: no reading {', '.join(sorted(foreign))}: choose of {', '.join(READINGS)}")
    with ThreadPoolExecutor(a.jobs) as threads:
        failed = [name for name, code in threads.map(partial(run, a.set, a.out), a.readings or READINGS) if code]
    if failed:
        sys.exit(f"error: {', '.join(failed)} failed, see {a.out}/…/run.log")


def run(overrides: Sequence[str], out: Path, name: str) -> tuple[str, int]:
    """Run one reading; returns its name and the exit code."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    method = [] if any(one.startswith("method=") for one in READINGS[name]) else ["method=lwim"]
    command = [sys.executable, "-m", "hspace_exp", "+experiment=gender_fairness", "name=lwim_readings", *method]
    command += [*READINGS[name], "method.strength=auto", "logger=none", *overrides, f"hydra.run.dir={folder}"]
    root = str(HERE.parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    with (folder / "run.log").open("w") as log:
        code = subprocess.run(command, stdout=log, stderr=log, env=environment).returncode
    print(f"{name}: {'done' if not code else f'failed, see {folder}/run.log'}", flush=True)
    return name, code


if __name__ == "__main__":
    main()
