"""``python -m avatars_world.train --stage … --max-seconds …``: retrain the embedded world's models."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch._dynamo

from avatars_world.architecture import FORMS, TRANSFORMERS
from avatars_world.captions import VOCABULARY_TEXT
from avatars_world.command import command
from avatars_world.tokenizer import train_tokenizer
from avatars_world.train.data import Layers, render_layers
from hspace_exp.avatars import EMBEDDED
from hspace_exp.errors import UserError, unknown

if TYPE_CHECKING:
    from avatars_world.train.denoising import Training

STAGES = ("data", "vae", "probe", "clip", "sam", "unet", "dit", "save")


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
    seed: int = 0  # of the start and the training of the U-Net and the text encoder, or of the transformer
    form: str = "h8"  # of the U-Net, see avatars_world.architecture
    size: str = "base"  # of the transformer, see avatars_world.architecture
    pipeline: str = str(EMBEDDED)  # whose autoencoder, tokenizer and text encoder the transformer is trained with


BATCH = {"vae": 48, "probe": 128, "clip": 384, "sam": 128, "unet": 384, "dit": 1024}


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
    if a.size not in TRANSFORMERS:
        raise unknown("size of the transformer", a.size, TRANSFORMERS)
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
    run = {"vae": _vae, "probe": _probe, "clip": _clip, "sam": _sam, "unet": _unet, "dit": _dit}[stage]
    run(a, out, a.batch or BATCH[stage])
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

    train_unet(captions, load_latents, tokenizer, out, _training(a, batch), form=a.form)


def _dit(a: TrainArguments, out: Path, batch: int) -> None:
    from avatars_world.train.dit import load_text, train_dit
    from avatars_world.train.latents import CaptionPool, encode_pool

    device = torch.device(a.device)
    tokenizer, text_encoder = load_text(Path(a.pipeline), device)
    captions = CaptionPool(a.people, a.copies, tokenizer)

    def load_latents() -> torch.Tensor:
        return encode_pool(_layers(a), captions, Path(a.pipeline) / "vae")

    train_dit(captions, load_latents, text_encoder, out, _training(a, batch), size=a.size)


def _training(a: TrainArguments, batch: int) -> Training:
    from avatars_world.train.denoising import Training

    return Training(
        device=torch.device(a.device),
        batch=batch,
        max_seconds=a.max_seconds,
        deadline=a.deadline,
        peak=a.peak,
        max_steps=a.max_steps,
        compiled=a.compile,
        seed=a.seed,
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
