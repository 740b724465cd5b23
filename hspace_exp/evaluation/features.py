"""Where the features of images and texts come from: injected, so that statistics are tested without a model."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from hspace_exp.errors import getting
from hspace_exp.io.images import resized

log = logging.getLogger(__name__)


class ImageFeatures(Protocol):
    """Turns (B, 3, H, W) images in [0, 1] into (B, D) float32 features; ``name`` goes into the record."""

    name: str

    def __call__(self, images: Tensor) -> Tensor:
        """Extract."""


class ImageTextModel(Protocol):
    """What alignment and zero-shot judges need; ``OpenClip`` is one."""

    def encode_images(self, images: Tensor) -> Tensor:
        """Embed (B, 3, H, W) images in [0, 1] as (B, D) unit vectors."""

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embed texts as (len(texts), D) unit vectors."""


@dataclass(frozen=True)
class OpenClip:
    """A frozen OpenCLIP model with its tokenizer and pixel statistics."""

    model: torch.nn.Module
    tokenize: Callable[[list[str]], Tensor]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    told: list[str] = field(default_factory=list)  # the text of which it was said that it is too long

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def encode_images(self, images: Tensor) -> Tensor:
        """Embed (B, 3, H, W) float images in [0, 1]; returns unit vectors (B, D), float32.

        Images of another size are resized with bicubic interpolation and antialiasing.
        """
        from torchvision.transforms.functional import normalize  # seconds, which others need not take

        images = resized(images.to(self.device, torch.float32), self.image_size)
        with torch.no_grad():
            features = self.model.encode_image(normalize(images, self.mean, self.std))  # type: ignore[operator]
            return F.normalize(features.float(), dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embed texts; returns unit vectors (len(texts), D), float32. It is said, once, when one is too long."""
        tokens, longer = (self.tokenize([f"{text}{more}" for text in texts]) for more in ("", " and"))
        cut = [text for text, same in zip(texts, (tokens == longer).all(1).tolist(), strict=True) if same]
        if cut and not self.told:
            told = "the judge reads %d tokens of a text, and of longer ones no more than their beginning, e.g. of %r"
            log.warning(told, tokens.shape[1], cut[0][:80])
            self.told.append(cut[0])
        with torch.no_grad():
            features = self.model.encode_text(tokens.to(self.device))  # type: ignore[operator]
            return F.normalize(features.float(), dim=-1)


class SharedClip:
    """An image-text model that embeds the same batch once, however many metrics and judges ask for it."""

    def __init__(self, model: ImageTextModel) -> None:
        """Wrap ``model``."""
        self.model = model
        # Tensors are equal where they are the same object. Two are remembered: the unedited images and the edited ones.
        self.encode_images = lru_cache(2)(model.encode_images)
        self._texts: dict[str, Tensor] = {}

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embed texts, each distinct text once; (len(texts), D) unit vectors."""
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if new:
            self._texts.update(zip(new, self.model.encode_texts(new), strict=True))
        return torch.stack([self._texts[text] for text in texts])


@dataclass
class OpenClipFeatures:
    """Image embeddings, scaled so that a coordinate has unit mean square.

    Unit vectors would make Fréchet distances tiny and the cubic kernel of KID, k = (aᵀb / D + 1)³, almost linear; with
    this scale aᵀb / D is the cosine.
    """

    clip: ImageTextModel  # best a `SharedClip`
    name = "openclip"

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


def load_open_clip(folder: str | Path, device: str | torch.device = "cpu") -> OpenClip:
    """Load the embedded world's model: ``open_clip_config.json`` and ``model.safetensors``, the tokenizer beside them.

    Raises UserError: a file is missing or the weights do not fit the config.
    """
    import open_clip
    from transformers import CLIPTokenizer

    folder = Path(folder)
    with getting(f"the OpenCLIP model in {folder}", "reinstall the package"):
        config = json.loads((folder / "open_clip_config.json").read_text())
        network = open_clip.CLIP(**config["model_cfg"])
        network.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
        tokenizer = CLIPTokenizer.from_pretrained(folder.parent / "tokenizer")
    length = config["model_cfg"]["text_cfg"]["context_length"]
    options = {"padding": "max_length", "truncation": True, "max_length": length, "return_tensors": "pt"}
    return _frozen(network.to(device), lambda texts: tokenizer(texts, **options).input_ids, config["preprocess_cfg"])


def load_published(model: str, weights: str, device: str | torch.device = "cpu") -> OpenClip:
    """Load an OpenCLIP architecture, e.g. ``ViT-B-32``, with weights of a local file, or by OpenCLIP's name.

    Raises UserError: the name is unknown or the weights cannot be had.
    """
    import open_clip

    with getting(f"OpenCLIP {model} with {weights!r}", "set evaluator.weights to a local file"):
        network = open_clip.create_model(model, pretrained=weights, device=device)
    pixels = {"mean": network.visual.image_mean, "std": network.visual.image_std}
    return _frozen(network, open_clip.get_tokenizer(model), pixels)


def _frozen(network: Any, tokenize: Callable[[list[str]], Tensor], pixels: Mapping[str, Sequence[float]]) -> OpenClip:
    size = int(np.ravel(network.visual.image_size)[0])  # one number, or two
    network = network.eval().requires_grad_(False)
    return OpenClip(network, tokenize, size, tuple(pixels["mean"]), tuple(pixels["std"]))
