"""Where the features of images and texts come from: injected, so that statistics are tested without a model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from hspace_exp.errors import getting


class ImageFeatures(Protocol):
    """Turns (B, 3, H, W) images in [0, 1] into (B, D) float32 features; ``name`` goes into the record."""

    name: str

    def __call__(self, images: Tensor) -> Tensor:
        """Extract."""


class ImageTextModel(Protocol):
    """What alignment and zero-shot judges need; ``hspace_exp.evaluation.openclip.OpenClip`` is one."""

    def encode_images(self, images: Tensor) -> Tensor:
        """Embed (B, 3, H, W) images in [0, 1] as (B, D) unit vectors."""

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embed texts as (len(texts), D) unit vectors."""


class SharedClip:
    """An image-text model that embeds the same batch once, however many metrics and judges ask for it."""

    def __init__(self, model: ImageTextModel) -> None:
        """Wrap ``model``."""
        self.model = model
        # Tensors are equal where they are the same object. Two are remembered: the unedited images and the edited ones.
        self._images = lru_cache(2)(model.encode_images)
        self._texts: dict[str, Tensor] = {}

    def encode_images(self, images: Tensor) -> Tensor:
        """Embed (B, 3, H, W) images in [0, 1]; (B, D) unit vectors."""
        return self._images(images)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embed texts, each distinct text once; (len(texts), D) unit vectors."""
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if new:
            self._texts.update(zip(new, self.model.encode_texts(new), strict=True))
        return torch.stack([self._texts[text] for text in texts])


class OpenClipFeatures:
    """Image embeddings, scaled so that a coordinate has unit mean square.

    Unit vectors would make Fréchet distances tiny and the cubic kernel of KID, k = (aᵀb / D + 1)³, almost linear; with
    this scale aᵀb / D is the cosine.
    """

    name = "openclip"

    def __init__(self, clip: ImageTextModel) -> None:
        """Take the model, best a `SharedClip`."""
        self.clip = clip

    def __call__(self, images: Tensor) -> Tensor:
        """Extract (B, D)."""
        features = self.clip.encode_images(images)
        return features * features.shape[1] ** 0.5


class InceptionFeatures:
    """Pool features (B, 2048) of the Inception network that published FIDs use; needs ``torch-fidelity``.

    Images are resized as TensorFlow 1 did, without antialiasing: another resizing gives other numbers (Parmar et al.,
    "On Aliased Resizing and Surprising Subtleties in GAN Evaluation", CVPR 2022).
    """

    name = "inception"

    def __init__(self, weights: str | Path | None = None, device: str = "cpu") -> None:
        """Load the network, of the file ``pt_inception-2015-12-05-6726825d.pth`` or one of its layout; None fetches it.

        Raises UserError: torch-fidelity or the weights are not there, or the file holds more than weights.
        """
        file = None if weights is None else str(Path(weights).expanduser())
        with getting("Inception features", "they need torch-fidelity and whole weights; or use OpenCLIP features"):
            from torchmetrics.image.fid import NoTrainInceptionV3

            if file is not None:  # torch-fidelity would run what a file that is no plain checkpoint asks for
                torch.load(file, map_location="cpu", weights_only=True)
            network: Any = NoTrainInceptionV3(
                name="inception-v3-compat", features_list=["2048"], feature_extractor_weights_path=file, antialias=False
            )
        self.network = network.to(device).eval()

    def __call__(self, images: Tensor) -> Tensor:
        """Extract (B, 2048); the network resizes to 299 pixels itself."""
        pixels = (images.clamp(0, 1) * 255).round().to(torch.uint8)
        with torch.no_grad():
            return self.network(pixels.to(next(self.network.parameters()).device)).float()
