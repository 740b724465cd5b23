"""Tune methods by one rule and one budget: sixteen trials each, all on validation images of validation professions.

    python experiments/tuning/tune.py sdid focused --jobs 2
    python experiments/tuning/tune.py --finer --set protocol=full     # three rates more, at the budget of the tables
    python experiments/tuning/tune.py --list
    python experiments/tuning/tune.py sdid --trials model.site=heads:1,heads:2 --set model=avatars_dit --out FOLDER
    python experiments/tuning/tune.py sdid --best 4 --set model=avatars_dit calibration.images=72 --out FOLDER

A trial learns vectors with one setting of the table below and calibrates their strength, as every run does. Of the
trials that reach ``calibration.success`` the one with the best background wins, and else the most successful one.
Interrupted, the same command goes on. ``results/METHOD.json`` lists all trials; conf/method holds the winners.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from hspace_exp.io.atomic import write_text
from hspace_exp.pipeline.calibration import FILE
from hspace_exp.results.record import git_state

HERE = Path(__file__).resolve().parent
_TRAINED: Mapping[str, list[Any]] = {
    "method.training.optimizer.lr": [0.003, 0.01, 0.03, 0.1],
    "method.training.decay": ["none", "cosine"],
}
# Method → setting → values: learning rate, its decay and one knob of the method's own, or two knobs without a rate.
TRIALS: Mapping[str, Mapping[str, list[Any]]] = {
    "sdid": {**_TRAINED, "method.training.timesteps": ["[0,1000]", "[300,1000]"]},
    "score_matching": {**_TRAINED, "method.training.vector": ["channel", "spatial"]},
    "respodiff": {**_TRAINED, "method.training.objective.weight": [0.25, 0.5]},
    "lwim": {**_TRAINED, "method.training.objective.floor": [0.6, 0.8]},
    "focused": {**_TRAINED, "method.edit.hold": [0.4, 0.6]},
    "pca": {"method.training.components": [10, 25, 50, 100], "method.training.states": [512, 1024, 2048, 4096]},
    "h_guidance": {"method.training.ridge": [1e-4, 1e-3, 1e-2, 1e-1], "method.edit.temperature": [2.0, 4.0, 8.0, 16.0]},
    "uce": {
        "method.edit.ridge": [0.1, 0.5, 5.0, 50.0],
        "method.edit.values": ["alone", "joined"],
        "method.edit.tokens": ["last", "rest"],
    },
    "equisteer": {
        "method.edit.gate": ["best", "null"],
        "method.edit.scope": ["all", "encoder"],
        "method.window": ["[0.0,0.25]", "[0.0,0.5]", "[0.0,0.75]", "[0.0,1.0]"],
    },
    "sliders": {
        "method.training.optimizer.lr": [0.0002, 0.0006, 0.002, 0.006],
        "method.training.layers": ["self", "all"],
        "method.window": ["[0.0,1.0]", "[0.2,1.0]"],
    },
    "efa": {
        "method.training.optimizer.lr": [0.001, 0.003, 0.01, 0.03],
        "method.training.present": [0.0001, 0.001],
        "method.training.outside": [0.0001, 0.001],
    },
    "fair_diffusion": {"method.edit.threshold": [0.5, 0.8, 0.9, 0.95], "method.edit.warm_up": [0.0, 0.1, 0.2, 0.3]},
}
RATE = "method.training.optimizer.lr"
FINER = (0.1, 1 / 3, 1.0)  # of the winner's rate: more steps allow lower ones


def main() -> None:
    """Tune the methods that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", help=f"of {', '.join(TRIALS)}; all by default")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (default: 1)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of every trial, e.g. protocol=smoke")
    parser.add_argument(
        "--trials", nargs="*", default=[], metavar="KEY=A,B", help="settings instead of the methods' own"
    )
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument(
        "--finer", action="store_true", help="a tenth, a third and all of the winners' rates, at another budget"
    )
    parser.add_argument(
        "--best", type=int, default=0, metavar="N", help="the N best trials of METHOD.json again, at another budget"
    )
    parser.add_argument("--list", action="store_true", help="print the trials and end")
    a = parser.parse_args()
    if a.list:
        print(json.dumps(TRIALS, indent=2))
        return
    ending, own = "", {key: values.split(",") for key, _, values in (text.partition("=") for text in a.trials)}
    trials = {name: own or TRIALS.get(name, {}) for name in a.methods or TRIALS}
    if foreign := [name for name, some in trials.items() if not (some or a.best)]:
        sys.exit(f"error: no trials of {', '.join(sorted(foreign))}: choose of {', '.join(TRIALS)}, or say --trials")
    if a.finer:
        trials, ending = {name: finer(name, a.out) for name, some in trials.items() if RATE in some}, "_finer"
    if a.best:
        parts, ending = [(name, settings) for name in trials for settings in best(name, a.out, a.best)], "_best"
    else:  # a process has the trials that differ in the last setting only
        parts = [(name, settings) for name, some in trials.items() for settings in swept(some)]
    runs = a.out / f"runs{ending}"
    with ThreadPoolExecutor(a.jobs) as threads:
        failed = {name for name, code in threads.map(partial(tune, a.set, runs), parts) if code}
    for name, settings in dict(parts).items():  # those of a method are of the same keys
        gather(name, settings, a.set, runs, a.out / f"{name}{ending}.json")
    if failed:
        sys.exit(f"error: a trial of {', '.join(sorted(failed))} failed, see {runs}/…/tune.log")


def finer(method: str, out: Path) -> dict[str, list[Any]]:
    """Three rates about that of a method's winner, with its other settings."""
    winner = json.loads((out / f"{method}.json").read_bytes())["winner"]
    return {RATE: [float(f"{factor * float(winner[RATE]):.1g}") for factor in FINER]} | {
        key: [value] for key, value in winner.items() if key != RATE
    }


def swept(trials: Mapping[str, list[Any]]) -> list[dict[str, str]]:
    """Settings of multiruns, one for each choice of all values but the last setting's, which is swept."""
    *firsts, last = trials.values()
    return [
        dict(zip(trials, [*map(str, some), ",".join(map(str, last))], strict=True))
        for some in itertools.product(*firsts)
    ]


def best(method: str, out: Path, count: int) -> list[dict[str, str]]:
    """Settings of the best trials that were found before."""
    found = json.loads((out / f"{method}.json").read_bytes())["trials"]
    return [trial["settings"] for trial in found[:count]]


def tune(overrides: Sequence[str], runs: Path, part: tuple[str, Mapping[str, str]]) -> tuple[str, int]:
    """Run trials of a method, a sweep over its last setting or one trial; returns the method and exit code."""
    method, chosen = part
    folder = runs / method / re.sub(r"[^\w.]+", "_", "-".join(chosen.values()))
    folder.mkdir(parents=True, exist_ok=True)
    settings = [f"++{key}={value}" for key, value in chosen.items()]
    command = [sys.executable, *command_of(method), *settings, "logger=none", *overrides]
    command += [f"hydra.sweep.dir={folder}", "hydra.sweep.subdir=${hydra.job.num}"]
    with (folder / "tune.log").open("w") as log:
        code = subprocess.run(command, stdout=log, stderr=log).returncode
    print(f"{method}, {folder.name}: {'failed' if code else 'done'}", flush=True)
    return method, code


def command_of(method: str) -> list[str]:
    """The command of a method's trials, without their settings."""
    command = ["-m", "hspace_exp", "-m", "+experiment=gender_fairness", "protocol=settings", f"method={method}"]
    return [*command, "method.strength=auto", "stages=[concepts,masks,training,calibration]"]


def gather(method: str, keys: Collection[str], overrides: Sequence[str], runs: Path, out: Path) -> None:
    """Write what all trials of a method found, which set these keys, the best first."""
    found = [trial(path.parent, keys) for path in sorted((runs / method).glob(f"*/*/{FILE}"))]
    ranked = sorted(found, key=rank, reverse=True)
    if ranked:
        command = ["python", *command_of(method), *(f"{key}=…" for key in keys), *overrides]
        about = {"method": method, "command": " ".join(command), "git": git_state(), "device": device()}
        write_text(out, text({**about, "winner": ranked[0]["settings"]}, ranked))
        print(f"{method}: {json.dumps(ranked[0])}", flush=True)


def text(about: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> str:
    """JSON with a trial a line: indented as ``write_json`` does it, results would be several times as large."""
    lines = ",\n".join(map(json.dumps, trials))
    return f'{json.dumps(about)[:-1]}, "trials": [\n{lines}\n]}}\n'


def device() -> str:
    """Where trials run, where they were not told otherwise."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def trial(run: Path, keys: Collection[str]) -> dict[str, Any]:
    """What the calibration of a run with settings of these keys found, all its concepts together."""
    found = json.loads((run / FILE).read_bytes())["concepts"]
    chosen = {name: next(p for p in one["curve"] if p["strength"] == one["strength"]) for name, one in found.items()}
    overrides = yaml.safe_load((run / ".hydra" / "overrides.yaml").read_text())
    told = [line.lstrip("+").replace("\\:", ":").partition("=") for line in overrides]
    n = sum(point["images"] for point in chosen.values())
    # squared errors are averaged, not decibels
    error = sum(p["images"] * 10 ** (-p["background_psnr"] / 10) for p in chosen.values() if p["background_psnr"]) / n
    return {
        "settings": {key: value for key, _, value in told if key in keys},
        "strength": {name: one["strength"] for name, one in found.items()},
        "reached": all(one["reached"] for one in found.values()),
        "success": round(sum(p["images"] * p["success"] for p in chosen.values()) / n, 4),
        "background_psnr": round(-10 * math.log10(error), 2) if error else None,
        "kept": {
            name: round(sum(p["images"] * p["kept"][name] for p in chosen.values()) / n, 4)
            for name in next(iter(chosen.values()))["kept"]
        },
        "images": n,
    }


def rank(found: Mapping[str, Any]) -> tuple[bool, float]:
    """Trials that reach success come first, by background, and then the others, by success."""
    if found["reached"]:
        return True, math.inf if found["background_psnr"] is None else found["background_psnr"]
    return False, found["success"]


if __name__ == "__main__":
    main()
