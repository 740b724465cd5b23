"""Segment Anything, told where to look by heat: the published models, and the embedded world's small one at 128 px."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from safetensors.torch import load_file
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor
from torchvision.ops import masks_to_boxes

from hspace_exp.avatars import EMBEDDED
from hspace_exp.errors import UserError, getting
from hspace_exp.masks import Heat
from hspace_exp.masks.attention import Share, normalised_heat
from hspace_exp.masks.checkpoints import PUBLISHED, default_folder, download

log = logging.getLogger(__name__)


def heat_points(heat: Tensor, count: int, radius: float) -> Tensor:
    """The ``count`` highest points (B, count, 2) as x, y of (B, 1, H, W) heat, each ``radius`` pixels from the others.

    Where too little is left outside the radii, the remaining points repeat the first.
    """
    height, width = heat.shape[-2:]
    left = heat[:, 0].clone()
    rows = torch.arange(height, device=heat.device)[:, None]
    columns = torch.arange(width, device=heat.device)[None, :]
    points: list[Tensor] = []
    for _ in range(count):
        best, index = left.flatten(1).max(1)
        point = torch.stack([index % width, index // width], dim=1)
        if points:
            point = torch.where(torch.isinf(best)[:, None], points[0], point)
        points.append(point)
        x, y = point[:, 0, None, None], point[:, 1, None, None]
        left[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = float("-inf")
    return torch.stack(points, dim=1).float()


def build_small_sam(config: Mapping[str, Any]) -> Sam:
    """Assemble ``segment_anything.modeling.Sam`` at a small size, with random weights.

    ``config`` is as ``avatars/weights/sam/config.json`` has it, sizes in pixels or channels; what is of neither prompts
    nor decoder goes to the image encoder as it is.
    """
    tower = dict(config)
    size, dim, hidden = (tower.pop(name) for name in ("image_size", "prompt_dim", "mlp_dim"))
    grid = size // tower["patch_size"]
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=size,
            mlp_ratio=4,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            qkv_bias=True,
            use_rel_pos=True,
            out_chans=dim,
            **tower,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=dim, image_embedding_size=(grid, grid), input_image_size=(size, size), mask_in_chans=16
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=dim, mlp_dim=hidden, num_heads=4),
            transformer_dim=dim,
            iou_head_depth=3,
            iou_head_hidden_dim=dim,
        ),
        pixel_mean=[127.5, 127.5, 127.5],
        pixel_std=[63.75, 63.75, 63.75],
    )


def load_small_sam(folder: str | Path) -> Sam:
    """Load ``config.json`` and ``model.safetensors`` from ``folder``; the model is frozen and in eval mode.

    Raises UserError: a file is missing or the weights do not fit the config.
    """
    folder = Path(folder)
    with getting(f"the small SAM in {folder}", "name another folder, or leave mask.checkpoint empty"):
        config = json.loads((folder / "config.json").read_text())
        sam = build_small_sam(config)
        sam.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
    return sam.eval().requires_grad_(False)


def load_sam(checkpoint: Path | str | None, model_type: str) -> Sam:
    """A frozen SAM: the embedded small one (a folder), or a published ``vit_b``, ``vit_l``, ``vit_h`` checkpoint.

    Where no checkpoint is named it is the embedded one, or the published one, downloaded on first use.
    """
    own = None if checkpoint is None else Path(checkpoint).expanduser()
    if model_type == "small":
        return load_small_sam(own or EMBEDDED / "sam")
    path = own or download(**PUBLISHED[model_type], folder=default_folder())
    with getting(f"the {model_type} of SAM in {path}", "name a whole file, or leave mask.checkpoint empty"):
        sam = sam_model_registry[model_type]()
        sam.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return sam.eval().requires_grad_(False)


@torch.no_grad()
def segment(
    sam: Sam,
    images: Tensor,
    boxes: Tensor | None,
    points: Tensor | None,
    *,
    multimask: bool = False,
    soft: bool = False,
) -> Tensor:
    """One mask an image, as ``SamPredictor`` gives it, but all at once (SAM's decoder takes one image: it is mapped).

    Of (B, H, W, 3) uint8 images, asked with boxes (B, 4) x0, y0, x1, y1 and foreground points (B, n, 2) x, y in pixels,
    at least one of the two. With ``multimask`` the one of three masks that SAM itself rates best is kept. Gives
    (B, 1, H, W) float32 on SAM's device: probabilities if ``soft``, else zeros and ones, cut at SAM's threshold.
    """
    transform = SamPredictor(sam).transform
    size = (int(images.shape[1]), int(images.shape[2]))
    resized = torch.stack([torch.from_numpy(transform.apply_image(image)) for image in images.cpu().numpy()])
    pixels = resized.to(sam.device).permute(0, 3, 1, 2).contiguous()
    labelled, scaled = None, None
    if points is not None:
        coordinates = transform.apply_coords_torch(points.to(sam.device).contiguous(), size)
        labelled = coordinates, torch.ones(coordinates.shape[:2], dtype=torch.int, device=sam.device)
    if boxes is not None:
        scaled = transform.apply_boxes_torch(boxes.to(sam.device).contiguous(), size)
    prompts = sam.prompt_encoder(points=labelled, boxes=scaled, masks=None)
    position = sam.prompt_encoder.get_dense_pe()

    def decode(features: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        return sam.mask_decoder(features[None], position, sparse[None], dense[None], multimask_output=multimask)

    logits, quality = torch.vmap(decode)(sam.image_encoder(sam.preprocess(pixels)), *prompts)
    best = quality[:, 0].argmax(1)
    chosen = logits[torch.arange(len(images), device=best.device), 0, best][:, None]
    found = sam.postprocess_masks(chosen, tuple(pixels.shape[-2:]), size)
    return torch.sigmoid(found) if soft else (found > sam.mask_threshold).float()


@dataclass
class SamMasks:
    """Peaks of the heat give points, its hot region a box if wanted, SAM, loaded when first needed, gives the mask.

    The defaults were chosen on validation renders of the embedded world: see experiments/mask_quality. A box around
    heat takes in the face along with the hair; points at the peaks, of which SAM rates its three readings, do not.
    """

    checkpoint: Path | str | None = None  # a folder of the small SAM, or a published file; None: embedded or downloaded
    model_type: Literal["small", "vit_b", "vit_l", "vit_h"] = "small"
    heat: Heat = "difference"
    box_threshold: Share | None = None  # a box encloses normalised heat at or above it; None for no box
    points: Annotated[int, Field(ge=0)] = 5  # how many, in the foreground
    point_distance: float = 1 / 16  # the least between them, a share of the image's side
    multimask: bool = True  # whether SAM chooses among its three masks
    soft: bool = False  # whether maps are SAM's probabilities, else zeros and ones
    batch_size: Annotated[int, Field(ge=1)] = 8  # images that are encoded at once
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Check that SAM is asked for something."""
        if self.box_threshold is None and self.points == 0:
            raise UserError("SAM needs a box or at least one point")

    @cached_property
    def sam(self) -> Sam:
        """The model, loaded on first use."""
        return load_sam(self.checkpoint, self.model_type).to(self.device)

    def maps(self, images: Tensor, heatmaps: Tensor | None = None) -> Tensor:
        """(B, 1, S, S) in [0, 1]."""
        heat = normalised_heat(images, heatmaps, self.heat)
        radius = self.point_distance * max(images.shape[1:3])
        masks = []
        for some, hot in zip(images.split(self.batch_size), heat.split(self.batch_size), strict=True):
            boxes = None if self.box_threshold is None else masks_to_boxes(hot[:, 0] >= self.box_threshold)
            points = heat_points(hot, self.points, radius) if self.points else None
            masks.append(segment(self.sam, some, boxes, points, multimask=self.multimask, soft=self.soft))
        found = torch.cat(masks).to(images.device)
        empty = int((found.flatten(1).sum(1) == 0).sum())
        if empty:
            log.warning("SAM found nothing in %d of %d images: those train with the plain loss", empty, len(images))
        return found
