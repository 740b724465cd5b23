"""Persons in photographs, by a published segmentation network of torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models import get_model, get_model_weights

from hspace_exp.errors import getting
from hspace_exp.io.images import as_float

CLASSES = 21  # Pascal VOC's
PERSON = 15


class PersonSegmenter:
    """(B, H, W, 3) uint8 images to (B, 1, H, W) bool: where "person" is the likeliest of Pascal VOC's classes.

    The networks are those that torchvision publishes, trained on the COCO images that show these classes.
    """

    def __init__(
        self,
        network: Literal[
            "lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50", "deeplabv3_resnet101"
        ] = "deeplabv3_resnet50",
        weights: str | Path | None = None,
        *,
        size: int = 520,
        device: str = "cpu",
    ) -> None:
        """Load the network of torchvision's name onto a device.

        Its weights are torchvision's file, which None fetches into torch's hub folder; ``size`` is the images' shorter
        side as the network sees it; its training used 520. Raises UserError: the weights cannot be had.
        """
        options = {} if network.startswith("lraspp") else {"aux_loss": True}
        model = get_model(network, weights=None, weights_backbone=None, num_classes=CLASSES, **options)
        file = "name torchvision's file (evaluator.person_masks.weights)"
        published = get_model_weights(network)["DEFAULT"]
        with getting(f"weights of {network}", f"{file}, or leave backgrounds out (evaluator=photos)"):
            if weights is None:
                state = published.get_state_dict(progress=False, check_hash=True)
            else:
                state = torch.load(Path(weights).expanduser(), map_location="cpu", weights_only=True)
            model.load_state_dict(state)
        self.model, self.device = model.to(device).eval().requires_grad_(False), device
        self.prepare = published.transforms(resize_size=size)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Find persons."""
        logits = self.model(self.prepare(as_float(images.to(self.device))))["out"]
        logits = F.interpolate(logits, images.shape[1:3], mode="bilinear", align_corners=False)
        return (logits.argmax(1, keepdim=True) == PERSON).cpu()
