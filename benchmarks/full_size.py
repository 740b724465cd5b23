"""The whole main job on full-size pipelines of random weights: what each stage takes of memory and time.

python -m benchmarks.full_size                                    # one GPU: SD 1.4 at 512 px, SDXL at 1,024 px
python -m benchmarks.full_size --models sd21 --methods sdid,lwim  # others
python -m benchmarks.full_size --limit-gib 24 --models sdxl       # fails where more would be needed
python -m benchmarks.full_size model.checkpointing=false          # any override of the main job
python -m benchmarks.full_size --tiny --out /tmp/full_size.json   # rehearsal on a CPU; its numbers mean nothing

U-Net, VAE, text encoders, Segment Anything and OpenCLIP have their published sizes (``benchmarks.layouts``);
tokenizers know the words of the prompts. Numbers of the records mean nothing: the weights are noise.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import open_clip
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import save_file
from segment_anything import sam_model_registry

from benchmarks.command import command
from benchmarks.layouts import LAYOUTS, tiny
from benchmarks.memory import estimate
from benchmarks.random_pipeline import save_random_pipeline
from hspace_exp.config.command_line import CONF
from hspace_exp.config.schema import register
from hspace_exp.errors import unknown
from hspace_exp.io.atomic import write_json
from hspace_exp.io.progress import Seconds
from hspace_exp.methods.learning import OnPolicy
from hspace_exp.pipeline import run as main_job
from hspace_exp.results.record import describe_device, git_state, versions

GIB = 2**30
ROWS, CONCEPTS = 16, 4  # rows that are trained at once; concepts of focused: those asked for, and those that it keeps
ON_HAND = "a photo of an the person woman man female male young old nurse carpenter librarian CEO , - ."
RESULTS = Path(__file__).parent / "results" / "full_size.json"


def weights(folder: Path, name: str, device: torch.device, toy: bool) -> list[str]:
    """Save a pipeline, Segment Anything and OpenCLIP of random weights; returns the overrides that use them."""
    layout = tiny(LAYOUTS[name]) if toy else LAYOUTS[name]
    half = torch.float32 if device.type == "cpu" else torch.bfloat16
    pipeline = folder / name
    if not pipeline.exists():
        save_random_pipeline(layout, pipeline, [ON_HAND], dtype=half, device=str(device))
    clip, sam = folder / "clip.safetensors", folder / "sam.pth"
    if not clip.exists():
        save_file(open_clip.create_model("ViT-B-32", pretrained=None).state_dict(), clip)
    found = [f"model={name}", f"model.path={pipeline}", f"evaluator.weights={clip}"]
    if toy:
        found += ["model.site=block:1"] if layout.is_transformer else []
        return [*found, "mask=sam"]  # the embedded one: the published size takes a CPU minutes
    if not sam.exists():
        torch.save(sam_model_registry["vit_b"]().state_dict(), sam)
    return [*found, f"mask.checkpoint={sam}"]


class Watch:
    """Seconds and peak memory of every stage of the main job."""

    def __init__(self, device: torch.device) -> None:
        """Take what is watched."""
        self.device = device
        self.stages: dict[str, dict[str, float | None]] = {}

    @contextmanager
    def stage(self, seconds: dict[str, float], name: str) -> Iterator[None]:
        """Stands in for the main job's own clock, which it feeds, too."""
        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        started = time.monotonic()
        yield
        if cuda:
            torch.cuda.synchronize(self.device)
        spent = time.monotonic() - started
        seconds[name] = seconds.get(name, 0.0) + spent
        self.stages[name] = {
            "seconds": round(spent, 2),
            "peak_gib": round(torch.cuda.max_memory_allocated(self.device) / GIB, 2) if cuda else None,
            "reserved_gib": round(torch.cuda.max_memory_reserved(self.device) / GIB, 2) if cuda else None,
        }


def job(name: str, method: str, overrides: Sequence[str], folder: Path, device: torch.device) -> dict[str, Any]:
    """Run the main job once and report it."""
    config = compose(
        "config",
        [
            "+experiment=gender_fairness",
            "protocol=smoke",
            "logger=none",
            f"device={device.type}",
            f"paths.cache={folder / 'cache'}",
            *overrides[:1],  # the model comes before the method, which may set another mask
            f"method={method}",
            *(o for o in overrides[1:] if method.startswith("lwim") or not o.startswith("mask")),
        ],
    )
    states = CONCEPTS * config.protocol.training_images * config.protocol.num_inference_steps
    watch, found = Watch(device), {"model": name, "method": method, "states": states}
    with patch.object(Seconds, "of", lambda seconds, stage: watch.stage(seconds, stage)):
        try:
            record = main_job.run(config, folder / "runs" / f"{name}-{method}")
        except torch.cuda.OutOfMemoryError as error:
            return {**found, "stages": watch.stages, "error": " ".join(str(error).split())[:200]}
    if record is None:
        raise RuntimeError("the main job left no record")
    model = {key: record.config["model"][key] for key in ("dtype", "checkpointing", "guidance_scale")}
    return {**found, "stages": watch.stages, "metrics": len(record.metrics), "model_config": model}


def estimated(name: str, method: str, toy: bool, states: int) -> dict[str, float]:
    """What ``benchmarks.memory`` foretells of a U-Net, in GiB.

    Args:
        name: of the model.
        method: of the job.
        toy: at tiny widths.
        states: of all concepts; ``focused`` keeps the first half of the U-Net for them where that takes 4 GiB at most.
    """
    layout = tiny(LAYOUTS[name]) if toy else LAYOUTS[name]
    found = estimate(layout, rows=ROWS, runs=1 if method == "sdid" else 2)
    kept = states * found.state if method == "focused" else 0
    peaks = vars(found) | {"kept": kept if kept <= OnPolicy().kept_bytes else 0}
    return {kind: round(value / GIB, 2) for kind, value in peaks.items() if kind != "state"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="sd14,sdxl", help=f"of {', '.join(LAYOUTS)}")
    parser.add_argument("--methods", default="sdid,lwim,focused")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--limit-gib", type=float, help="memory that PyTorch may take of the GPU")
    parser.add_argument("--tiny", action="store_true", help="rehearse with tiny widths")
    parser.add_argument("overrides", nargs="*", help="of the main job, e.g. model.checkpointing=false")
    asked = parser.parse_args(arguments)
    for name in asked.models.split(","):
        if name not in LAYOUTS:
            parser.error(str(unknown("model", name, LAYOUTS)))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda" and asked.limit_gib:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, asked.limit_gib * GIB / total), device.index or 0)
    found: dict[str, Any] = {
        "command": command("benchmarks.full_size", sys.argv[1:] if arguments is None else arguments),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": describe_device(device),
        "versions": versions(),
        "git": git_state(),
        "tiny": asked.tiny,
        "limit_gib": asked.limit_gib,
        "runs": [],
    }
    register()
    with tempfile.TemporaryDirectory() as place, initialize_config_dir(str(CONF), version_base="1.3"):
        for name in asked.models.split(","):
            overrides = [*weights(Path(place), name, device, asked.tiny), *asked.overrides]
            for method in asked.methods.split(","):
                one = job(name, method, overrides, Path(place), device)
                states = one.pop("states")
                if not LAYOUTS[name].is_transformer:
                    one["estimate_gib"] = estimated(name, method, asked.tiny, states)
                found["runs"].append(one)
                write_json(asked.out, found)
                print(name, method, one["stages"], one.get("error", ""), flush=True)
                gc.collect()
                if device.type == "cuda":
                    torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())
