"""``python -m avatars_world.mask_quality attribute=gender images=64``: attribute maps against exact masks of renders.

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
from torch import Tensor

from hspace_exp.config.arguments import command
from hspace_exp.config.command_errors import CONF
from hspace_exp.errors import UserError, unknown
from hspace_exp.evaluation.image_metric import item_keys
from hspace_exp.evaluation.metrics import Share
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.io.atomic import save_png, write_json
from hspace_exp.io.images import to_uint8
from hspace_exp.masks import MaskProvider
from hspace_exp.masks.attention import AttentionMasks
from hspace_exp.masks.heat import heatmaps
from hspace_exp.masks.picture import mask_sheet
from hspace_exp.masks.sam import SamMasks
from hspace_exp.models.backbone import Backbone, load_backbone
from hspace_exp.models.loading import EMBEDDED
from hspace_exp.prompts.attributes import ConceptPrompts, Concepts
from hspace_exp.results.provenance import describe_device, git_state

_BATCH = 8


@dataclass(frozen=True)
class Renders:
    """Images whose attribute is known exactly.

    Attributes:
        images: (N, S, S, 3) uint8, decoded.
        latents: (N, C, H, W) scaled latents.
        exact: (N, 1, S, S) true masks.
        names: the concept of each.
        indices: the index of each among its concept's images.
        image_seed: which renders these are; it seeds the heat too.
    """

    images: Tensor
    latents: Tensor
    exact: Tensor
    names: tuple[str, ...]
    indices: tuple[int, ...]
    image_seed: int


def map_iou(maps: Tensor, exact: Tensor) -> Tensor:
    """(N,) intersection over union of (N, 1, S, S) maps cut at 0.5 and true masks; 1 where both are empty."""
    if maps.shape != exact.shape:
        raise UserError(f"expected maps and true masks of one shape, got {tuple(maps.shape)} and {tuple(exact.shape)}")
    found, true = maps >= 0.5, exact.to(maps.device) >= 0.5
    either = (found | true).sum((1, 2, 3))
    return torch.where(either > 0, (found & true).sum((1, 2, 3)) / either.clamp(min=1), 1.0)


def mask_iou(maps: Tensor, exact: Tensor, names: Sequence[str]) -> MetricValue:
    """Mean ``map_iou`` with its 95 % bootstrap interval over images.

    Args:
        maps: (N, 1, S, S) in [0, 1].
        exact: (N, 1, S, S) true masks.
        names: what makes each image unique; it keys the resampling.
    """
    metric = Share()
    metric.update(item_keys(list(names)), map_iou(maps, exact))
    return metric.result()


def render_truth(
    backbone: Backbone, attribute: str, part: str, concepts: Sequence[str], count: int, seed: int
) -> Renders:
    """``count`` renders of each concept, rendered as for ``mask=oracle``, with the true mask of ``part``."""
    from hspace_exp.training.dataset import render_block

    blocks = [render_block(backbone, attribute, name, part, range(count), seed) for name in concepts]
    latents, exact = (torch.cat([block[key] for block in blocks]) for key in ("latents", "exact"))
    decoded = [backbone.decode_latents(latents[i : i + _BATCH]) for i in range(0, len(latents), _BATCH)]
    names = tuple(name for name in concepts for _ in range(count))
    images = torch.from_numpy(to_uint8(torch.cat(decoded)))
    return Renders(images, latents, exact, names, tuple(range(count)) * len(concepts), seed)


def maps_of(provider: MaskProvider, backbone: Backbone, found: Renders, concepts: Concepts) -> Tensor:
    """(N, 1, S, S) maps of renders, from the heat that the provider asks for."""
    maps = torch.zeros_like(found.exact)
    for name, prompts in concepts.items():
        rows = [i for i, other in enumerate(found.names) if other == name]
        indices = [found.indices[i] for i in rows]
        heat = None
        if provider.heat is not None:
            heat = heatmaps(provider.heat, backbone, found.latents[rows], prompts, found.image_seed, indices)
        maps[rows] = provider.maps(found.images[rows], heat, found.exact[rows]).cpu()
    return maps


def rendered_mask_iou(
    provider: MaskProvider,
    backbone: Backbone,
    attribute: str,
    part: str,
    concepts: Concepts,
    images: int = 32,
    image_seed: int = 1,
) -> MetricValue:
    """``mask_iou`` of a provider on renders of the embedded world, ``images`` of each concept."""
    found = render_truth(backbone, attribute, part, list(concepts), images, image_seed)
    return mask_iou(maps_of(provider, backbone, found, concepts), found.exact, _keys(found))


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
    """What the command line may set, as ``key=value``."""

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
        maps = maps_of(known[name], backbone, found, concepts)
        seconds = (time.perf_counter() - started) / len(maps)
        ious = map_iou(maps, found.exact)
        each = {c: float(ious[[other == c for other in found.names]].mean()) for c in concepts}
        value = mask_iou(maps, found.exact, _keys(found))
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


def _keys(found: Renders) -> list[str]:
    return [f"{name}/{index}" for name, index in zip(found.names, found.indices, strict=True)]


def main(argv: list[str]) -> int:
    """Measure as ``argv`` says; returns the exit code."""
    return command(argv, Arguments, measure, str(__doc__))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
