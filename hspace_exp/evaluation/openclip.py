"""OpenCLIP models, local or published, as one small object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hspace_exp.errors import getting
from hspace_exp.io.images import resized


@dataclass(frozen=True)
class OpenClip:
    """A frozen OpenCLIP model with its tokenizer and pixel statistics."""

    model: torch.nn.Module
    tokenize: Callable[[list[str]], Tensor]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def encode_images(self, images: Tensor) -> Tensor:
        """Embed (B, 3, H, W) float images in [0, 1]; returns unit vectors (B, D), float32.

        Images of another size are resized with bicubic interpolation and antialiasing.
        """
        images = resized(images.to(self.device, torch.float32), self.image_size)
        mean = images.new_tensor(self.mean).view(1, 3, 1, 1)
        std = images.new_tensor(self.std).view(1, 3, 1, 1)
        with torch.no_grad():
            return F.normalize(self.model.encode_image((images - mean) / std).float(), dim=-1)  # type: ignore[operator]

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embed texts; returns unit vectors (len(texts), D), float32."""
        with torch.no_grad():
            features = self.model.encode_text(self.tokenize(list(texts)).to(self.device))  # type: ignore[operator]
            return F.normalize(features.float(), dim=-1)


def build_open_clip(model_cfg: dict[str, Any]) -> torch.nn.Module:
    """Build ``open_clip.CLIP`` with random weights from a config in OpenCLIP's own form."""
    from open_clip.model import CLIP

    return CLIP(**model_cfg)


def load_open_clip(folder: str | Path, device: str | torch.device = "cpu") -> OpenClip:
    """Load the embedded world's model: ``open_clip_config.json`` and ``model.safetensors``, the tokenizer beside them.

    Raises UserError: a file is missing or the weights do not fit the config.
    """
    import open_clip
    from transformers import CLIPTokenizer

    folder = Path(folder)
    with getting(f"the OpenCLIP model in {folder}", "reinstall the package"):
        network = open_clip.create_model(f"local-dir:{folder}", device=device)
        tokenizer = CLIPTokenizer.from_pretrained(folder.parent / "tokenizer")
    options = {"padding": "max_length", "truncation": True, "max_length": network.context_length}
    return _frozen(network, lambda texts: tokenizer(texts, **options, return_tensors="pt").input_ids)


def load_published(model: str, weights: str, device: str | torch.device = "cpu") -> OpenClip:
    """Load an OpenCLIP architecture, e.g. ``ViT-B-32``, with weights of a local file, or by OpenCLIP's name.

    Raises UserError: the name is unknown or the weights cannot be had.
    """
    import open_clip

    with getting(f"OpenCLIP {model} with {weights!r}", "set evaluator.weights to a local file"):
        network = open_clip.create_model(model, pretrained=weights, device=device)
    return _frozen(network, open_clip.get_tokenizer(model))


def _frozen(network: torch.nn.Module, tokenize: Callable[[list[str]], Tensor]) -> OpenClip:
    visual: Any = network.visual
    size = int(np.ravel(visual.image_size)[0])  # one number, or two
    mean, std = tuple(visual.image_mean), tuple(visual.image_std)
    return OpenClip(network.eval().requires_grad_(False), tokenize, size, mean, std)
