"""How different two images look, by a network's eyes."""

from __future__ import annotations

from typing import Any, Literal, Protocol
from urllib.error import URLError

import torch
import torch.nn.functional as F
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.evaluation.features import ImageFeatures


class PerceptualDistance(Protocol):
    """Compares (B, 3, H, W) images in [0, 1]; ``name`` goes into metric names, e.g. ``background_lpips``."""

    name: str

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """(B,) distances on the CPU, 0 for equal images."""


class FeatureDistance:
    """1 minus the cosine of two images' features, for where LPIPS' weights are not at hand."""

    name = "feature_distance"

    def __init__(self, features: ImageFeatures) -> None:
        """Take the extractor."""
        self.features = features

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """(B,) in [0, 2]."""
        x, y = (self.features(images).double() for images in (a, b))
        return (1 - F.cosine_similarity(x, y, dim=1)).clamp(min=0).cpu()


class Lpips:
    """LPIPS of Zhang et al. (CVPR 2018), by torchmetrics; its backbone's weights come through torchvision."""

    name = "lpips"

    def __init__(self, backbone: Literal["alex", "vgg", "squeeze"] = "alex", device: str = "cpu") -> None:
        """Load the network.

        Args:
            backbone: whose features are compared.
            device: where it runs.

        Raises:
            UserError: the backbone's weights cannot be had.
        """
        try:
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

            metric: Any = LearnedPerceptualImagePatchSimilarity(backbone, reduction="none", normalize=True)
        except (URLError, OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(
                f"LPIPS' {backbone} weights cannot be had ({reason}): put torchvision's file into torch's hub folder "
                "or use a feature distance"
            ) from error
        self.net, self.device = metric.net.to(device).eval(), device

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """(B,) distances, >= 0."""
        with torch.no_grad():
            found: Tensor = self.net(a.to(self.device).float(), b.to(self.device).float(), normalize=True)
        return found.flatten().double().cpu()
