"""``python -m avatars_world.evaluate``: measure the embedded models; every number of the model card."""

from __future__ import annotations

import platform
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avatars_world.command import command
from avatars_world.evaluate import generated, potency, renders
from avatars_world.evaluate.card import PARTS, write_card
from avatars_world.train.data import HELD_OUT_SEED, Layers, render_layers
from avatars_world.train.dit import load_transformer
from hspace_exp.avatars import EMBEDDED
from hspace_exp.avatars.probe import AttributeProbe, load_probe
from hspace_exp.errors import UserError, unknown
from hspace_exp.evaluation.features import OpenClip, load_open_clip
from hspace_exp.io.atomic import save_png, write_json
from hspace_exp.models.backbone import Backbone, load_backbone
from hspace_exp.results.record import git_state

Judges = dict[str, OpenClip | AttributeProbe]
OF_TRANSFORMERS = ("obedience", "bias", "preview")


@dataclass
class Arguments:
    """What the command line may set, a flag each."""

    what: str = ",".join(PARTS)
    weights: str = str(EMBEDDED)
    transformer: str = ""  # a folder that holds ``transformer/``, to be measured in the place of the U-Net
    out: str = "outputs/avatars_evaluation"
    device: str = "auto"
    guidance_scale: float = 3.0
    held_out: int = 2000
    prompts: int = 2000
    per_profession: int = 50
    potency_per_profession: int = 25
    sdid_images: int = 256
    sdid_steps: int = 700
    batch: int = 256
    tag: str = ""
    card: str = ""  # a model card whose table is written anew from the measurements


def contact_sheet(images: torch.Tensor, columns: int) -> np.ndarray:
    """(N, 3, S, S) in [0, 1] as one uint8 picture (rows * S, columns * S, 3), padded with white."""
    count, _, size, _ = images.shape
    rows = -(-count // columns)
    sheet = torch.ones(rows * columns, 3, size, size)
    sheet[:count] = images.float().cpu()
    grid = sheet.view(rows, columns, 3, size, size).permute(0, 3, 1, 4, 2).reshape(rows * size, columns * size, 3)
    return (grid * 255).round().to(torch.uint8).numpy()


def speed(backbone: Backbone, batch: int = 8, repeats: int = 3) -> dict[str, float]:
    """Seconds an image for guided sampling and decoding at ``batch``; the median of ``repeats`` after a warm-up."""
    prompts, seeds = ["a photo of a doctor"] * batch, list(range(batch))
    generated.generate(backbone, prompts[:1], seeds[:1])
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        generated.generate(backbone, prompts, seeds, batch=batch)
        if backbone.device.type == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - started) / batch)
    return {"seconds_per_image": float(np.median(times)), "batch": batch, "threads": torch.get_num_threads()}


def sizes(weights: Path) -> dict[str, float]:
    """Megabytes (10^6 bytes) of all weight files together, of the largest one, and of the folder with its texts."""
    files = [f.stat().st_size / 1e6 for f in weights.rglob("*.safetensors")]
    everything = [f.stat().st_size / 1e6 for f in weights.rglob("*") if f.is_file()]
    return {
        "weights_mb": round(sum(files), 3),
        "largest_file_mb": round(max(files), 3),
        "folder_mb": round(sum(everything), 3),
    }


def on_renders(a: Arguments, backbone: Backbone, judges: Judges) -> dict[str, Any]:
    """Quality of the autoencoder, the judges and SAM on held-out renders; a picture of the first is written."""
    out = Path(a.out)
    render_layers(out / "held_out", a.held_out, 12 * max(1, a.held_out // 100), base_seed=HELD_OUT_SEED)
    layers = Layers(out / "held_out", backbone.device)
    images, truth = renders.held_out_images(layers)
    found = {
        "n": len(images),
        "vae_psnr": renders.vae_psnr(backbone, images),
        "accuracy": {n: renders.accuracies(judge, images, truth) for n, judge in judges.items()},
        "sam_iou": renders.sam_iou(Path(a.weights), layers, images),
    }
    with torch.no_grad():
        back = backbone.decode_latents(backbone.encode_images(images[:16]))
    save_png(out / f"vae{a.tag}.png", contact_sheet(torch.cat([images[:16], back]), 16))
    return found


def run(a: Arguments) -> dict[str, Any]:
    """Measure what ``a.what`` names and write ``measurements.json`` and pictures into ``a.out``."""
    parts = a.what.split(",")
    for part in parts:
        if part not in PARTS:
            raise unknown("measurement", part, PARTS)
        if a.transformer and part not in OF_TRANSFORMERS:
            raise UserError(f"{part} is measured of U-Nets alone: pass what={','.join(OF_TRANSFORMERS)}")
    out, weights = Path(a.out), Path(a.weights)
    out.mkdir(parents=True, exist_ok=True)
    backbone = load_backbone(weights, device=a.device, name="avatars", guidance_scale=a.guidance_scale)
    device = backbone.device
    judges: Judges = {
        "clip": load_open_clip(weights / "clip", device),
        "probe": load_probe(weights).to(device),
    }
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    result: dict[str, Any] = {
        "device": name,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "git": str((git_state() or {"commit": "unknown"})["commit"])[:7],
        "arguments": {k: v for k, v in vars(a).items() if k not in ("out", "weights", "transformer")},
    }
    draw = partial(generated.generate, backbone, batch=a.batch)
    if a.transformer:
        transformer: Any = load_transformer(Path(a.transformer), device)
        others = backbone.vae, backbone.prompt_encoder, backbone.scheduler
        measured = Backbone(transformer, *others, name="avatars_dit", guidance_scale=a.guidance_scale)
        draw = partial(generated.generate, measured, batch=a.batch)
        result["transformer_parameters"] = sum(p.numel() for p in transformer.parameters())
    for part in parts:
        started = time.monotonic()
        if part == "renders":
            result[part] = on_renders(a, backbone, judges)
        elif part == "obedience":
            shares, images, _ = generated.obedience(draw, judges, a.prompts)
            result[part] = {"n": a.prompts, **shares}
            save_png(out / f"samples{a.tag}.png", contact_sheet(images[:100], 10))
        elif part == "bias":
            result[part] = generated.bias(draw, judges, a.per_profession)
        elif part == "potency":
            result[part], pictures = potency.potency(
                backbone,
                judges,
                images=a.sdid_images,
                steps=a.sdid_steps,
                per_profession=a.potency_per_profession,
                batch=a.batch,
            )
            sheet = torch.cat([rows[:12] for rows in pictures.values()])
            save_png(out / f"potency{a.tag}.png", contact_sheet(sheet, 12))
            write_json(out / f"potency_rows{a.tag}.json", list(pictures))
        elif part == "speed":
            result[part] = speed(backbone)
        elif part == "size":
            result[part] = {
                **sizes(weights),
                "unet_parameters": sum(p.numel() for p in backbone.unet.parameters()),
            }
        elif part == "preview":
            save_png(out / f"preview{a.tag}.png", contact_sheet(generated.preview(draw), generated.PREVIEW_SEEDS))
            result[part] = {"rows": list(generated.PREVIEW), "columns": generated.PREVIEW_SEEDS}
        print(f"[{part}] {time.monotonic() - started:.0f} s {result[part]}", flush=True)
        write_json(out / f"measurements{a.tag}.json", result)
    if a.card:
        write_card(Path(a.card), result)
    return result


def main(argv: list[str]) -> int:
    """Measure as ``argv`` says; returns the exit code."""
    about = f"Measure the embedded models. Measurements: {', '.join(PARTS)}."
    return command(argv, Arguments, run, "python -m avatars_world.evaluate", about)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
