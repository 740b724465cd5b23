"""Stage ``sam``: a small Segment Anything model, trained on exact part masks with boxes and points as prompts."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F

from avatars_world.render import PART_IDS
from avatars_world.small_sam import SMALL_SAM, decode_masks
from avatars_world.train.batches import disturb, draw_batch
from avatars_world.train.data import Layers
from avatars_world.train.loop import Average, Clock, descend, learning_rate, resume, set_learning_rate, store_half
from hspace_exp.io.atomic import write_json
from hspace_exp.masks.sam import build_small_sam

WHOLE_PERSON = 0.75


def part_masks(parts: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    """Select one part of each image; (B, S, S) uint8 bits and (B,) bit numbers to (B, S, S) bool."""
    return (parts.to(torch.int64) >> bits.view(-1, 1, 1)) & 1 > 0


def boxes_of(masks: torch.Tensor) -> torch.Tensor:
    """Tight boxes of (B, S, S) bool masks as (B, 4) float pixels (x0, y0, x1, y1); an empty mask gives a zero box."""
    size = masks.shape[-1]
    ticks = torch.arange(size, device=masks.device)
    columns, rows = masks.any(1), masks.any(2)

    def span(occupied: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first = torch.where(occupied, ticks, size).amin(1)
        last = torch.where(occupied, ticks + 1, 0).amax(1)
        return first.clamp(max=size).float(), last.float()

    x0, x1 = span(columns)
    y0, y1 = span(rows)
    empty = (~masks.any(2).any(1)).unsqueeze(1)
    return torch.where(empty, torch.zeros_like(x0).unsqueeze(1), torch.stack([x0, y0, x1, y1], 1))


def points_in(masks: torch.Tensor, count: int) -> torch.Tensor:
    """Draw ``count`` foreground pixels of each (B, S, S) mask, with replacement; (B, count, 2) as (x, y)."""
    weights = masks.flatten(1).float() + 1e-9
    flat = torch.multinomial(weights, count, replacement=True)
    size = masks.shape[-1]
    return torch.stack([flat % size, flat // size], dim=-1).float() + 0.5


def box_iou(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Intersection over union of boxes, (B, 4) each as (x0, y0, x1, y1); returns (B,)."""
    low, high = torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])
    both = (high - low).clamp(min=0).prod(1)
    areas = (one[:, 2:] - one[:, :2]).prod(1) + (other[:, 2:] - other[:, :2]).prod(1)
    return both / (areas - both).clamp(min=1)


def iou(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Intersection over union of bool masks over the last two axes; 1 where both are empty."""
    both = (prediction & target).sum((-2, -1)).float()
    either = (prediction | target).sum((-2, -1)).float()
    return torch.where(either > 0, both / either.clamp(min=1), torch.ones_like(both))


def mask_loss(
    logits: torch.Tensor, quality: torch.Tensor, target: torch.Tensor, ambiguous: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Focal and dice loss, 20:1, with L2 on the predicted IoU (Kirillov et al., "Segment Anything", 2023, section 3).

    Args:
        logits: (B, 4, H, W), first the mask for clear prompts, then three alternatives.
        quality: (B, 4) predicted IoU.
        target: (B, H, W) bool.
        ambiguous: whether the best alternative alone counts; else it and the first mask do, half each.

    Returns:
        the loss, and the (B, 4) IoU that the masks reach.
    """
    want = target.unsqueeze(1).float().expand_as(logits)
    probability = logits.sigmoid()
    cross = F.binary_cross_entropy_with_logits(logits, want, reduction="none")
    right = probability * want + (1 - probability) * (1 - want)
    focal = (cross * (1 - right).square()).mean((-2, -1))
    overlap = (probability * want).sum((-2, -1))
    dice = 1 - (2 * overlap + 1) / (probability.sum((-2, -1)) + want.sum((-2, -1)) + 1)
    each = 20 * focal + dice
    best = each[:, 1:].amin(1) if ambiguous else 0.5 * (each[:, 0] + each[:, 1:].amin(1))
    with torch.no_grad():
        reached = iou(logits > 0, target.unsqueeze(1))
    return best.mean() + F.mse_loss(quality.float(), reached), reached


def train_sam(
    layers: Layers,
    out: Path,
    max_seconds: float,
    *,
    batch: int,
    peak: float = 1e-3,
    freeze_encoder: bool = False,
    max_steps: int | None = None,
) -> None:
    """Train and save ``out/sam``, going on from it, with ``mask_loss``; prompts of points alone are ambiguous.

    A hat and a garment have nearly the person's box, so a bare box around the whole person means the person.
    """
    device = layers.device
    torch.manual_seed(3)
    sam = build_small_sam(SMALL_SAM)
    folder = out / "sam"
    resume(sam, folder / "model.safetensors")
    sam.to(device).train()
    sam.image_encoder.requires_grad_(not freeze_encoder)
    average = Average(sam, 0.998)
    optimizer = torch.optim.AdamW([p for p in sam.parameters() if p.requires_grad], lr=peak, weight_decay=0.02)
    chosen = torch.tensor([PART_IDS[name] for name in ("person", "gender", "skin", "profession")], device=device)
    odds = torch.tensor([0.25, 0.4, 0.15, 0.2], device=device)
    clock = Clock(max_seconds, "sam", max_steps=max_steps)
    for step in clock.steps():
        set_learning_rate(optimizer, learning_rate(clock.progress, peak, warmup=0.06))
        images, people, _ = draw_batch(layers, batch)
        bits = chosen[torch.multinomial(odds, batch, replacement=True)]
        target = part_masks(layers.parts[people], bits)
        whole = part_masks(layers.parts[people], chosen[0].expand(batch))
        target = torch.where(target.flatten(1).any(1).view(-1, 1, 1), target, whole)
        # One prompt kind a step, in turn, as SAM's encoder takes a whole batch of one kind: boxes, points, both.
        kind = step % 3
        if kind == 0:
            is_whole = box_iou(boxes_of(target), boxes_of(whole)) > WHOLE_PERSON
            target = torch.where(is_whole.view(-1, 1, 1), whole, target)
        points = points_in(target, 3)
        labels = torch.ones(points.shape[:2], device=device)
        boxes = boxes_of(target) + torch.randn(batch, 4, device=device) * 1.5
        with torch.autocast(device.type, dtype=torch.bfloat16):
            embeddings = sam.image_encoder(disturb(images, shift=False) * 4 - 2)
            logits, quality = decode_masks(
                sam,
                embeddings,
                points=points if kind else None,
                labels=labels if kind else None,
                boxes=None if kind == 1 else boxes.clamp(0, images.shape[-1]),
            )
        logits = F.interpolate(logits.float(), size=target.shape[-2:], mode="bilinear", align_corners=False)
        loss, reached = mask_loss(logits, quality, target, ambiguous=kind == 1)
        descend(loss, sam, optimizer)
        average.update()
        clock.log(loss=loss.detach(), iou=reached.amax(1).mean())
    average.store()
    write_json(folder / "config.json", SMALL_SAM)
    store_half(sam, folder / "model.safetensors")
    print("[sam] " + json.dumps({"steps": clock.step, "iou": float(reached.amax(1).mean())}), flush=True)
