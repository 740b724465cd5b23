"""Pictures of the page: where an edit can act, and a batch as a grid; and the lines that make a picture again."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from hspace_exp.generation.steer import python
from hspace_studio.session import Asked, Shown

TINT = np.array([255, 96, 0])  # over what the gate opens
GAP, LINE = 4, 14
COLUMNS = 8


def gate_over(image: np.ndarray, gate: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) uint8, in grey, and in colour where a gate (h, w) in [0, 1] is open."""
    height, width = image.shape[:2]
    levels = Image.fromarray((255 * gate).round().astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR)
    opened = np.asarray(levels, np.float32)[..., None] / 255
    grey = image.mean(-1, keepdims=True) * 0.7 + 60
    tinted = 0.7 * image + 0.3 * TINT
    return (grey + opened * (tinted - grey)).clip(0, 255).round().astype(np.uint8)


def grid(shown: Shown, attribute: str = "") -> np.ndarray:
    """A batch, (H, W, 3) uint8: unedited above edited, and below what each was asked for and the judge read in it."""
    count, height, width = shown.before.shape[:3]
    columns = min(count, COLUMNS)
    band, seen = 2 * (height + LINE) + GAP, shown.seen.get(attribute, [("", "")] * count)
    size = columns * (width + GAP) - GAP, -(-count // columns) * band - GAP
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for i, (before, after, target, read) in enumerate(zip(shown.before, shown.after, shown.targets, seen, strict=True)):
        left, top = i % columns * (width + GAP), i // columns * band
        asked = f"{read[1]}, asked {target}" if target else f"{read[1]}, left alone"
        for row, (image, words) in enumerate(((before, read[0]), (after, asked.removeprefix(", ")))):
            place = left, top + row * (height + LINE)
            canvas.paste(Image.fromarray(image), place)
            draw.text((left, place[1] + height + 1), _cut(draw, words, width), fill="black")
    return np.asarray(canvas)


def _cut(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    while draw.textlength(text) > width:
        text = text[:-1]
    return text


def snippet(
    asked: Asked,
    target: str,
    model: str,
    file: str,
    device: str = "cpu",
    dtype: str = "float32",
    side: int | None = None,
) -> str:
    """Lines of Python that make the edited picture again.

    Args:
        asked: what was asked for.
        target: the concept that the picture was asked for, "" where it was left alone.
        model: Python's expression of the pipeline's folder, e.g. "EMBEDDED".
        file: the same of the concept's file.
        device: of the model.
        dtype: of its U-Net.
        side: of the picture in pixels, where that is not the model's own.
    """
    then = "" if device == "cpu" else f'.to("{device}")'
    kind = "" if dtype == "float32" else f", torch_dtype=torch.{dtype}"
    call = f"{asked.prompt!r}, generator=torch.Generator().manual_seed({asked.seed})"
    call += f", num_inference_steps={asked.steps}, guidance_scale={asked.guidance:g}"
    call += "" if side is None else f", height={side}, width={side}"
    names = [name for name in ("CONCEPTS", "EMBEDDED") if name in (model, file.split(" / ")[0] if target else "")]
    imports = ["import torch"]
    if names:
        imports.append(f"from hspace_exp.avatars import {', '.join(names)}")
    if asked.scheduler != "native":
        imports.append("from hspace_exp.models.schedulers import make_scheduler")
        then += f'\npipe.scheduler = make_scheduler(pipe.scheduler, "{asked.scheduler}")'
    return python(f"{model}{kind}", call, {file: asked.strength} if target else {}, imports=imports, then=then)
