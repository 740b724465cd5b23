"""``python -m avatars_world.mask_quality --attribute gender``: attribute maps against exact masks of renders.

Renders of the embedded world go through its autoencoder, as images of a run do, and each provider makes their maps from
heat of the same latents. Writes ``<attribute>.json`` and a contact sheet for each provider.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from avatars_world.command import command
from avatars_world.oracle import OracleMasks
from hspace_exp.avatars import EMBEDDED
from hspace_exp.config.command_line import CONF
from hspace_exp.errors import UserError, unknown
from hspace_exp.evaluation.world import Renders, decoded_renders, map_iou, maps_of, mask_iou
from hspace_exp.io.atomic import save_png, write_json
from hspace_exp.masks import MaskProvider
from hspace_exp.masks.attention import AttentionMasks
from hspace_exp.masks.picture import mask_sheet
from hspace_exp.masks.sam import SamMasks
from hspace_exp.models.backbone import Backbone, load_backbone
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.results.record import describe_device, git_state


def render_truth(
    backbone: Backbone, attribute: str, part: str, concepts: Sequence[str], count: int, seed: int
) -> Renders:
    """``count`` renders of each concept, drawn as for ``mask=oracle``, with the true mask of ``part``."""
    blocks = [OracleMasks().make_images(backbone, attribute, name, part, range(count), seed) for name in concepts]
    latents, exact = (torch.cat([block[key] for block in blocks]) for key in ("latents", "exact"))
    names = [name for name in concepts for _ in range(count)]
    return decoded_renders(backbone, latents, exact, names, list(range(count)) * len(concepts))


def providers(device: str) -> dict[str, MaskProvider]:
    """What is compared."""
    return {
        "sam": SamMasks(device=device),
        "sam_attention": SamMasks(heat="attention", device=device),
        "sam_attention_box": SamMasks(heat="attention", box_threshold=0.5, points=3, multimask=False, device=device),
        "attention": AttentionMasks(),
        "difference": AttentionMasks(heat="difference"),
    }


@dataclass
class Arguments:
    """What the command line may set, a flag each."""

    attribute: str = "gender"
    images: int = 64  # of each concept
    providers: str = "sam,sam_attention,sam_attention_box,attention,difference"
    image_seed: int = 1  # settings were chosen on seed 0
    out: str = "outputs/mask_quality"
    weights: str = str(EMBEDDED)
    device: str = "auto"


def measure(a: Arguments) -> dict[str, Any]:
    """Compare providers on renders, and write what was found."""
    path = CONF / "attribute" / f"{a.attribute}.yaml"
    if not path.is_file():
        raise unknown("attribute", a.attribute, sorted(p.stem for p in path.parent.glob("*.yaml")))
    settings: Any = OmegaConf.to_container(OmegaConf.load(path))
    backbone = load_backbone(a.weights, device=a.device)
    known = providers(str(backbone.device))
    chosen = a.providers.split(",")
    for name in chosen:
        if name not in known:
            raise unknown("mask provider", name, known)
    if a.images < 2:
        raise UserError(f"expected at least 2 images of each concept, got {a.images}")
    concepts = {name: ConceptPrompts.of(some) for name, some in settings["concepts"].items()}
    found = render_truth(backbone, a.attribute, settings["part"], list(concepts), a.images, a.image_seed)
    results = {}
    for name in chosen:
        started = time.perf_counter()
        maps = maps_of(known[name], backbone, found, concepts, a.image_seed)
        seconds = (time.perf_counter() - started) / len(maps)
        ious = map_iou(maps, found.exact)
        each = {c: float(ious[[other == c for other in found.names]].mean()) for c in concepts}
        value = mask_iou(maps, found)
        results[name] = {"iou": value.to_json(), "each": each, "seconds_per_image": round(seconds, 4)}
        print(f"{a.attribute} {name}: IoU {value.value:.3f} [{value.ci_low:.3f}, {value.ci_high:.3f}], n = {value.n}")
        save_png(Path(a.out) / f"{a.attribute}_{name}.png", mask_sheet(found.images, maps, found.names, each=12))
    about: dict[str, Any] = {
        "arguments": {k: v for k, v in dataclasses.asdict(a).items() if k not in ("out", "weights")}
    }
    about |= {"part": settings["part"], "device": describe_device(backbone.device), "git": git_state()}
    report = {**about, "results": results}
    write_json(Path(a.out) / f"{a.attribute}.json", report)
    return report


def main(argv: list[str]) -> int:
    """Measure as ``argv`` says; returns the exit code."""
    about = "Measure attribute maps against exact masks of renders."
    return command(argv, Arguments, measure, "python -m avatars_world.mask_quality", about)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
