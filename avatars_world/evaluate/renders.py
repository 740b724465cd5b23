"""What can be measured on held-out renders: autoencoder, judges, SAM."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from avatars_world.small_sam import decode_masks
from avatars_world.train.data import Layers, labels_of
from avatars_world.train.sam import boxes_of, iou, part_masks, points_in
from hspace_exp.avatars.probe import ATTRIBUTES, AttributeProbe
from hspace_exp.avatars.world import SCENES, judge_texts
from hspace_exp.evaluation.features import OpenClip
from hspace_exp.masks.sam import load_small_sam
from hspace_exp.models.backbone import Backbone

CHUNK = 64


def held_out_images(layers: Layers) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Every held-out person over one scene; (N, 3, S, S) in [0, 1] and the true classes (N,)."""
    people = torch.arange(len(layers.rgba), device=layers.device)
    backs = people % len(layers.scenes)
    images = torch.cat([layers.compose(p, b) for p, b in zip(people.split(CHUNK), backs.split(CHUNK), strict=True)])
    labels = {name: values.to(layers.device) for name, values in labels_of(layers.specs).items()}
    return images, {**labels, "scene": backs % len(SCENES)}


@torch.no_grad()
def vae_psnr(backbone: Backbone, images: torch.Tensor) -> float:
    """PSNR in dB of encode-decode, from the MSE pooled over all images."""
    squares = [
        (backbone.decode_latents(backbone.encode_images(chunk)) - chunk).square().mean((1, 2, 3))
        for chunk in images.split(CHUNK)
    ]
    return float(-10 * torch.cat(squares).mean().log10())


@torch.no_grad()
def classify(judge: OpenClip | AttributeProbe, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Class indices (N,) of each attribute by zero-shot argmax (OpenCLIP) or by the probe's heads."""
    if isinstance(judge, AttributeProbe):
        parts = [judge(chunk.float()) for chunk in images.split(256)]
        return {name: torch.cat([part[name] for part in parts]).argmax(1) for name in ATTRIBUTES}
    features = torch.cat([judge.encode_images(chunk) for chunk in images.split(256)])
    texts = {name: list(values.values()) for name, values in judge_texts().items()}
    found = {name: (features @ judge.encode_texts(texts[name]).T).argmax(1) for name in ATTRIBUTES}
    found["profession"] += 1  # "person" is the first class and no text
    return found


def accuracies(
    judge: OpenClip | AttributeProbe, images: torch.Tensor, truth: dict[str, torch.Tensor]
) -> dict[str, float]:
    """Share of right classes for each attribute; professions over the images that have one."""
    found = classify(judge, images)
    right = {name: (found[name] == truth[name]).float() for name in ATTRIBUTES}
    right["profession"] = right["profession"][truth["profession"] > 0]
    return {name: float(values.mean()) for name, values in right.items()}


@torch.no_grad()
def sam_iou(weights: Path, layers: Layers, images: torch.Tensor) -> dict[str, float]:
    """Mean IoU of SAM's masks with exact ones, for boxes and for three points, over images that have the part.

    Boxes use the single mask; points use the one of three candidates that SAM itself rates highest.
    """
    from avatars_world.render import PART_IDS

    sam = load_small_sam(weights / "sam").to(layers.device)
    torch.manual_seed(0)
    found: dict[str, list[torch.Tensor]] = {}
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK]
        embeddings = sam.image_encoder(chunk * 4 - 2)
        for name in ("person", "gender", "skin", "profession"):
            bits = torch.full((len(chunk),), PART_IDS[name], device=layers.device)
            target = part_masks(layers.parts[start : start + CHUNK], bits)
            there = target.flatten(1).any(1)
            points = points_in(target, 3)
            for kind in ("box", "points"):
                logits, quality = decode_masks(
                    sam,
                    embeddings,
                    points=points if kind == "points" else None,
                    labels=torch.ones(points.shape[:2], device=layers.device) if kind == "points" else None,
                    boxes=boxes_of(target) if kind == "box" else None,
                )
                best = quality[:, 1:].argmax(1) + 1 if kind == "points" else torch.zeros_like(bits)
                picked = logits[torch.arange(len(chunk), device=layers.device), best].unsqueeze(1)
                mask = F.interpolate(picked, size=target.shape[-2:], mode="bilinear", align_corners=False)[:, 0] > 0
                found.setdefault(f"{name}_{kind}", []).append(iou(mask, target)[there])
    return {name: float(torch.cat(values).mean()) for name, values in found.items()}
