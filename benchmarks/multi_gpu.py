"""One device against several: the whole main job of the embedded model, and images of the size of Stable Diffusion 1.4.

python -m benchmarks.multi_gpu --out benchmarks/results/multi_gpu.json --devices 1,2   # GPUs; stops after 4 minutes
python -m benchmarks.multi_gpu --out /tmp/multi_gpu.json --tiny                        # rehearsal on a CPU

The JSON has the form of ``benchmarks.run``'s and is written after every reading.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from benchmarks.agreement import Agreement, agreement
from benchmarks.bench import Bench
from benchmarks.command import timed_job
from benchmarks.findings import AT_MOST, Findings
from benchmarks.full_size import ON_HAND
from benchmarks.layouts import LAYOUTS, tiny
from benchmarks.random_pipeline import save_random_pipeline
from benchmarks.run import made, run_measure, say
from hspace_exp.io.atomic import write_json
from hspace_exp.io.leader import LEADER
from hspace_exp.pipeline.workers import FOLDER, READY

FASTER, CHANGED = 1.8, 0.2
LATENTS = (4, 32, 32)
SEEDS = 4
STAGES = ("concepts", "training", "generation", "evaluation")
TINY = [
    "method=score_matching", "protocol=smoke", "protocol.professions=[nurse,carpenter]", "chunk_size=2",
    "protocol.images_per_profession=4", "protocol.training_images=4", "protocol.training_steps=3",
    "protocol.num_inference_steps=2", "evaluator.labelled=0", "evaluator.repeats=20",
]  # fmt: skip


def main_jobs(bench: Bench, counts: Sequence[int], images: int) -> None:
    """The command from empty caches, on each number of devices."""
    with tempfile.TemporaryDirectory() as place:
        runs: dict[str, Path] = {}
        seconds: dict[str, dict[str, float]] = {}
        first = f"{counts[0]} device" + "s" * (counts[0] > 1)
        for count in counts:
            name = first if count == counts[0] else f"{count} devices"
            if bench.left < 1.2 * seconds.get(first, {"command": 0.0})["command"]:
                bench.found.note(f"{name}: left out, {bench.left:.0f} s were left")
                continue
            runs[name] = Path(place) / f"devices{count}"
            seconds[name] = _main_job(bench, runs[name], count, images)
            for stage, spent in seconds[name].items():
                bench.found.measure(f"{stage}, {name}", [spent])
            if name != first:
                _compare(bench.found, name, agreement(runs[first], runs[name], LATENTS))
                faster = {s: round(seconds[first][s] / max(seconds[name][s], 1e-9), 2) for s in seconds[first]}
                bench.found.note(f"{name}, times as fast as {first}: {json.dumps(faster)[1:-1]}.")


def _main_job(bench: Bench, run: Path, count: int, images: int) -> dict[str, float]:
    """Seconds of the whole command, start of Python included, and of its stages."""
    spent, done = timed_job(_words(bench, run, count, images), min(900.0, max(30.0, bench.left)))
    if done.returncode:
        raise RuntimeError(f"the main job on {count} devices ended with {done.returncode}: {done.stderr[-800:]}")
    if "failed" in done.stderr:
        bench.found.note(f"{count} devices: {' '.join(line for line in done.stderr.splitlines() if 'failed' in line)}")
    stages = json.loads((run / "record.json").read_text(encoding="utf-8"))["seconds"]
    return {"command": spent, **{stage: stages[stage] for stage in ("loading", *STAGES) if stage in stages}}


def _words(bench: Bench, run: Path, count: int, images: int) -> list[str]:
    size = ["method=focused", "protocol.professions=${prompts.professions}", f"protocol.images_per_profession={images}"]
    words = [*(TINY if bench.tiny else size), f"device={bench.device.type}", f"trainer.devices={count}"]
    return [*words, f"paths.cache={run.with_suffix('.cache')}", f"hydra.run.dir={run}"]


def _compare(found: Findings, name: str, a: Agreement) -> None:
    found.bar(f"{name}: rows of the manifest that differ", a.manifest, 0, AT_MOST, "rows")
    found.bar(f"{name}: initial noises that differ", a.noise, 0, AT_MOST, "noises")
    for judge, share in a.labels.items():
        found.bar(f"{name}: labels of the judge {judge} that differ", 100 * share, CHANGED, AT_MOST, "%")
    greatest = max(a.metrics.items(), key=lambda metric: metric[1], default=("none", 0.0))
    vectors = ", ".join(f"{who} {cosine:.8f} ({far:.1e})" for who, (cosine, far) in a.vectors.items())
    found.note(
        f"{name}: same digest: {a.digests}; pixels differ by at most {a.pixels} of 255; of all labels "
        f"{100 * a.all_labels:.3f} % differ; metrics that differ: {len(a.metrics)}, most {greatest[0]} by "
        f"{greatest[1]:.2g}; cosine of the vectors (relative difference): {vectors or 'none'}."
    )


def big_images(bench: Bench, counts: Sequence[int], images: int) -> None:
    """Images of random weights of the shape of Stable Diffusion 1.4: what further ones take when all are at work.

    The command makes N images and then 3 N: the difference is free of the start of processes and of loading.
    """
    layout = tiny(LAYOUTS["sd14"]) if bench.tiny else LAYOUTS["sd14"]
    dtype = torch.float32 if bench.device.type == "cpu" else torch.bfloat16
    seconds: dict[int, float] = {}
    steps = bench.of_size(20, 2)
    with tempfile.TemporaryDirectory() as place:
        pipeline = save_random_pipeline(layout, Path(place) / "sd14", [ON_HAND], dtype=dtype, device=str(bench.device))
        bench.free()
        for count in counts:
            spent: dict[int, float] = {}
            for number in (images, 3 * images):
                if bench.left < 3 * spent.get(images, 0.0):
                    bench.found.note(f"{count} devices: left out, {bench.left:.0f} s were left")
                    return
                run = Path(place) / f"{count}-{number}"
                spent[number], done = timed_job([
                    "model=sd14", f"model.path={pipeline}", "method=original", "mask=none", "stages=[generation]",
                    "logger=none", f"device={bench.device.type}", "protocol.professions=[nurse]",
                    f"protocol.images_per_profession={number}", f"protocol.num_inference_steps={steps}",
                    f"chunk_size={bench.of_size(8, 2)}", f"trainer.devices={count}", f"paths.cache={run}.cache",
                    f"hydra.run.dir={run}",
                ], min(900.0, max(30.0, bench.left)))  # fmt: skip
                if done.returncode or "failed" in done.stderr:
                    raise RuntimeError(f"{number} images on {count} devices: {done.stderr[-800:]}")
            seconds[count] = spent[3 * images] - spent[images]
            more = {"images": 2 * images, "steps": steps, "over": "GPUs", "x": count}
            bench.found.measure("further images, GPUs", [seconds[count]], **more)
            more |= {"images": images}
            bench.found.measure("first images, start and loading included, GPUs", [spent[images]], **more)
    for count in list(seconds)[1:]:
        limit = FASTER if count == 2 else FASTER / 2 * count
        ratio = seconds[counts[0]] / max(seconds[count], 1e-9)
        bench.found.bar(f"images on {count} devices, against {counts[0]}", ratio, bench.of_size(limit, 0.0))


def killed(bench: Bench, count: int, images: int) -> None:
    """A run of which one process is killed while images are made, against an undisturbed one."""
    with tempfile.TemporaryDirectory() as place:
        undisturbed, other = Path(place) / "undisturbed", Path(place) / "killed"
        seconds = [_main_job(bench, undisturbed, count, images)["command"]]
        ends: list[int] = []
        killer = threading.Thread(target=_kill_one, args=(other, ends, bench.left))
        killer.start()
        seconds.append(_main_job(bench, other, count, images)["command"])
        killer.join()
        if not ends:
            raise RuntimeError("no process of the run was found to kill")
        for run, spent in zip((undisturbed, other), seconds, strict=True):
            bench.found.measure(f"command, {count} devices, {run.name}", [spent])
        _compare(bench.found, f"{count} devices, one of them killed", agreement(undisturbed, other, LATENTS))


def _kill_one(run: Path, ends: list[int], seconds: float) -> None:
    """Kill a process that another of the same run has started, once images are made; ``ends`` gets its number."""
    until = time.monotonic() + seconds
    while not ends and not (run / "record.json").exists() and time.monotonic() < until:
        time.sleep(0.2)
        for process in Path("/proc").glob("[0-9]*") if (run / FOLDER / READY).exists() else ():
            with suppress(OSError):
                if f"{LEADER}=".encode() in (process / "environ").read_bytes() and str(run) in _command_of(process):
                    time.sleep(1.0)  # some of its images are there
                    os.kill(int(process.name), signal.SIGKILL)
                    ends.append(int(process.name))
                    break


def _command_of(process: Path) -> str:
    return (process / "cmdline").read_bytes().decode(errors="replace")


def sweeps(bench: Bench, counts: Sequence[int]) -> None:
    """A sweep of four seeds as a user starts it, as many jobs side by side as there are devices, from empty caches."""
    seconds: dict[int, float] = {}
    runs: dict[int, list[Path]] = {}
    with tempfile.TemporaryDirectory() as place:
        for count in counts:
            if bench.left < 1.2 * max(seconds.values(), default=0.0):
                bench.found.note(f"{count} devices: left out, {bench.left:.0f} s were left")
                return
            folder = Path(place) / str(count)
            small = [*(TINY if bench.tiny else ["method=focused"]), "hydra/launcher=joblib"]
            small += [f"hydra.launcher.n_jobs={count}", f"paths.cache={folder}/cache"]
            words = ["-m", *small, "seed=0,1,2,3", f"hydra.sweep.dir={folder}/sweep"]
            seen = ",".join(map(str, range(count)))
            seconds[count], done = timed_job(words, min(900.0, max(30.0, bench.left)), CUDA_VISIBLE_DEVICES=seen)
            runs[count] = sorted(path.parent for path in folder.rglob("record.json"))
            if done.returncode or len(runs[count]) != SEEDS:
                raise RuntimeError(f"the sweep on {count} devices ended with {done.returncode}: {done.stderr[-800:]}")
            bench.found.measure("a sweep of four jobs, GPUs", [seconds[count]], over="GPUs", x=count)
            if count != counts[0]:
                ratio, limit = seconds[counts[0]] / seconds[count], bench.of_size(FASTER / 2 * count, 0.0)
                bench.found.bar(f"a sweep on {count} devices, against {counts[0]}", ratio, limit)
                found = agreement(runs[counts[0]][0], runs[count][0], LATENTS)
                _compare(bench.found, f"first job of a sweep on {count} devices", found)


def main(words: Sequence[str]) -> int:
    """Run all sections; returns 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--devices", default="1,2", help="numbers of devices, the first is what others are compared to")
    parser.add_argument("--images", type=int, default=32, help="of each of the 36 professions")
    parser.add_argument("--big-images", type=int, default=128, help="of the size of Stable Diffusion 1.4")
    parser.add_argument("--max-seconds", type=float, default=235.0)
    every = "several_devices_images,several_devices_job,several_devices_sweep,several_devices_killed"
    parser.add_argument("--only", default=every, help="sections, joined by commas")
    parser.add_argument("--tiny", action="store_true", help="rehearse with two processes on a CPU")
    a = parser.parse_args(words)
    started, counts = time.monotonic(), [int(n) for n in a.devices.split(",")]
    device = torch.device("cuda" if torch.cuda.is_available() and not a.tiny else "cpu")
    sections: dict[str, Findings] = {}
    about = made("benchmarks.multi_gpu", words, device, a.tiny)
    about["device"] = f"{max(counts)} × {about['device']}"

    def save() -> None:
        found = {name: some.plain() for name, some in sections.items()}
        write_json(a.out, {"made": {**about, "seconds": round(time.monotonic() - started, 1)}, "sections": found})

    for name, measure in (
        ("several_devices_images", lambda bench: big_images(bench, counts, bench.of_size(a.big_images, 8))),
        ("several_devices_job", lambda bench: main_jobs(bench, counts, a.images)),
        ("several_devices_sweep", lambda bench: sweeps(bench, counts)),
        ("several_devices_killed", lambda bench: killed(bench, max(counts), a.images)),
    ):
        if name not in a.only.split(","):
            continue
        found = sections[name] = Findings(changed=save)
        deadline = float("inf") if a.tiny else started + a.max_seconds
        print(f"{name} …", flush=True)
        run_measure(measure, Bench(device, a.tiny, deadline, found, sections))
        save()
        say(found)
    return int(any(found.status != "done" for found in sections.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
