"""``python -m avatars_world.train --stage … --max-seconds …``: retrain the embedded world's models."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch._dynamo

from avatars_world.architecture import FORMS
from avatars_world.captions import VOCABULARY_TEXT
from avatars_world.command import command
from avatars_world.tokenizer import train_tokenizer
from avatars_world.train.data import Layers, render_layers
from hspace_exp.errors import UserError, unknown

STAGES = ("data", "vae", "probe", "clip", "sam", "unet", "save")


@dataclass
class TrainArguments:
    """What the command line may set, a flag each."""

    stage: str = "data,vae,probe,clip,sam,unet,save"
    out: str = "outputs/avatars"
    max_seconds: float = 120.0
    people: int = 32_000
    scenes: int = 3_000
    copies: int = 6
    batch: int = 0
    peak: float = 1e-3
    max_steps: int | None = None
    workers: int | None = None
    device: str = "cuda"
    compile: bool = True
    deadline: float | None = None
    freeze_encoder: bool = False
    seed: int = 0  # of the U-Net's and the text encoder's start and training
    form: str = "h8"  # of the U-Net, see avatars_world.architecture


BATCH = {"vae": 48, "probe": 128, "clip": 384, "sam": 128, "unet": 384}


def main(argv: list[str]) -> int:
    """Run the stages that ``argv`` names, in order; returns the exit code."""
    about = f"Retrain the embedded world's models. Stages: {', '.join(STAGES)}."
    return command(argv, TrainArguments, run_stages, "python -m avatars_world.train", about)


def run_stages(a: TrainArguments) -> None:
    """Run the stages of ``a.stage`` one after another; all names are checked first."""
    stages = a.stage.split(",")
    for stage in stages:
        if stage not in STAGES:
            raise unknown("stage", stage, STAGES)
    if a.form not in FORMS:
        raise unknown("form of the U-Net", a.form, FORMS)
    for stage in stages:
        run_stage(stage, a)


def run_stage(stage: str, a: TrainArguments) -> None:
    """Run one stage; its inputs are the files that earlier stages left under ``a.out``."""
    out, started = Path(a.out), time.monotonic()
    if stage == "data":
        render_layers(out / "data", a.people, a.scenes, workers=a.workers)
        return
    if stage == "save":
        from avatars_world.train.save import save_weights

        save_weights(out, out / "weights")
        return
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    torch._dynamo.config.suppress_errors = True
    {"vae": _vae, "probe": _probe, "clip": _clip, "sam": _sam, "unet": _unet}[stage](a, out, a.batch or BATCH[stage])
    print(f"[{stage}] done in {time.monotonic() - started:.0f} s", flush=True)


def _layers(a: TrainArguments) -> Layers:
    data = Path(a.out) / "data"
    wait_for(data / "layers.json")
    return Layers(data, torch.device(a.device))


def _vae(a: TrainArguments, out: Path, batch: int) -> None:
    from avatars_world.train.vae import train_vae

    options: dict[str, Any] = {"peak": a.peak, "max_steps": a.max_steps, "compiled": a.compile}
    train_vae(partial(_layers, a), out, a.max_seconds, device=torch.device(a.device), batch=batch, **options)


def _probe(a: TrainArguments, out: Path, batch: int) -> None:
    from avatars_world.train.probe import train_probe

    train_probe(_layers(a), out, a.max_seconds, batch=batch, max_steps=a.max_steps)


def _clip(a: TrainArguments, out: Path, batch: int) -> None:
    from avatars_world.train.clip import train_clip

    options: dict[str, Any] = {"peak": a.peak, "freeze_encoder": a.freeze_encoder, "max_steps": a.max_steps}
    train_clip(_layers(a), train_tokenizer(VOCABULARY_TEXT), out, a.max_seconds, batch=batch, **options)


def _sam(a: TrainArguments, out: Path, batch: int) -> None:
    from avatars_world.train.sam import train_sam

    options: dict[str, Any] = {"peak": a.peak, "freeze_encoder": a.freeze_encoder, "max_steps": a.max_steps}
    train_sam(_layers(a), out, a.max_seconds, batch=batch, **options)


def _unet(a: TrainArguments, out: Path, batch: int) -> None:
    from avatars_world.train.latents import CaptionPool, encode_pool
    from avatars_world.train.unet import train_unet

    tokenizer = train_tokenizer(VOCABULARY_TEXT)
    captions = CaptionPool(a.people, a.copies, tokenizer)

    def load_latents() -> torch.Tensor:
        wait_for(out / "vae" / "trained.json")
        return encode_pool(_layers(a), captions, out / "vae")

    train_unet(
        captions,
        load_latents,
        tokenizer,
        out,
        a.max_seconds,
        device=torch.device(a.device),
        batch=batch,
        deadline=a.deadline,
        peak=a.peak,
        max_steps=a.max_steps,
        compiled=a.compile,
        seed=a.seed,
        form=a.form,
    )


def wait_for(path: Path, seconds: float = 900.0) -> None:
    """Wait for a file that another stage is about to write; all stages may be started at once.

    Raises:
        UserError: it did not come.
    """
    started = time.monotonic()
    while not path.exists():
        if time.monotonic() - started > seconds:
            raise UserError(f"expected {path} within {seconds:.0f} s; run the stage that writes it first")
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
