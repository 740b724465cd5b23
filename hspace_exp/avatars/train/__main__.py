"""``python -m hspace_exp.avatars.train stage=… max_seconds=…``: retrain the embedded world's models."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch._dynamo
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hspace_exp.avatars.train.data import Layers, render_layers
from hspace_exp.errors import UserError, unknown

STAGES = ("data", "vae", "probe", "clip", "sam", "unet", "save")


@dataclass
class TrainArguments:
    """What the command line may set, as ``key=value``."""

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


BATCH = {"vae": 96, "probe": 128, "clip": 256, "sam": 64, "unet": 512}


def main(argv: list[str]) -> int:
    """Run the stages that ``argv`` names, in order; returns the exit code."""
    if any(a in ("-h", "--help") for a in argv):
        print(__doc__, "\nstages:", ", ".join(STAGES))
        print(OmegaConf.to_yaml(OmegaConf.structured(TrainArguments)))
        return 0
    try:
        arguments = OmegaConf.to_object(
            OmegaConf.merge(OmegaConf.structured(TrainArguments), OmegaConf.from_dotlist(argv))
        )
        if not isinstance(arguments, TrainArguments):
            raise UserError("arguments must be given as key=value")
        for stage in arguments.stage.split(","):
            if stage not in STAGES:
                raise unknown("stage", stage, STAGES)
            run_stage(stage, arguments)
    except (UserError, OmegaConfBaseException) as error:
        print(f"error: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    return 0


def run_stage(stage: str, a: TrainArguments) -> None:
    """Run one stage; its inputs are the files that earlier stages left under ``a.out``."""
    from hspace_exp.avatars.captions import VOCABULARY_TEXT
    from hspace_exp.avatars.tokenizer import train_tokenizer

    out, started = Path(a.out), time.monotonic()
    data = out / "data"
    if stage == "data":
        render_layers(data, a.people, a.scenes, workers=a.workers)
        return
    if stage == "save":
        from hspace_exp.avatars.train.save import save_weights

        save_weights(out, out / "weights")
        return
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    torch._dynamo.config.suppress_errors = True
    layers = Layers(data, a.device)
    tokenizer = train_tokenizer(VOCABULARY_TEXT)
    batch = a.batch or BATCH[stage]
    if stage == "vae":
        from hspace_exp.avatars.train.vae import train_vae

        train_vae(layers, out, a.max_seconds, batch=batch, max_steps=a.max_steps, compiled=a.compile)
    elif stage == "probe":
        from hspace_exp.avatars.train.judges import train_probe

        train_probe(layers, out, a.max_seconds, batch=batch, max_steps=a.max_steps)
    elif stage == "clip":
        from hspace_exp.avatars.train.judges import train_clip

        train_clip(layers, tokenizer, out, a.max_seconds, batch=batch, max_steps=a.max_steps)
    elif stage == "sam":
        from hspace_exp.avatars.train.sam import train_sam

        train_sam(layers, out, a.max_seconds, batch=batch, max_steps=a.max_steps)
    elif stage == "unet":
        from hspace_exp.avatars.train.latents import LatentPool
        from hspace_exp.avatars.train.unet import train_unet

        pool = LatentPool(layers, out / "vae", tokenizer, a.copies)
        spent = time.monotonic() - started
        train_unet(
            pool,
            tokenizer,
            out,
            max(a.max_seconds - spent, 1.0),
            batch=batch,
            peak=a.peak,
            max_steps=a.max_steps,
            compiled=a.compile,
        )
    print(f"[{stage}] done in {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
