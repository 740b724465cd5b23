"""Image features on disk, by what is in the image: no picture is embedded twice by one model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hspace_exp.evaluation.features import ImageTextModel
from hspace_exp.io.atomic import save_safetensors

SUFFIX = ".safetensors"
IMAGES_A_FILE = 4096


def image_hash(image: Tensor) -> str:
    """First 32 hex digits of SHA-256 over the size and the 8-bit pixels of a (3, H, W) image in [0, 1]."""
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).cpu().contiguous()
    return hashlib.sha256(repr(tuple(pixels.shape)).encode() + pixels.numpy().tobytes()).hexdigest()[:32]


def weights_hash(module: torch.nn.Module) -> str:
    """First 16 hex digits of SHA-256 over the name, shape and outermost 64 values of each of a network's tensors."""
    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        flat = tensor.detach().reshape(-1)
        ends = torch.cat([flat[:64], flat[-64:]]).float().cpu()
        found.update(f"{name} {tuple(tensor.shape)}".encode() + ends.numpy().tobytes())
    return found.hexdigest()[:16]


class CachedClip:
    """An image-text model that looks image features up in a folder before it computes them.

    Files hold many images each, by hash; a file that is damaged counts as absent. Features are kept as they were first
    computed, so that evaluating again changes no digit.
    """

    def __init__(self, model: ImageTextModel, folder: str | Path) -> None:
        """Wrap ``model``.

        Args:
            model: computes what is not there yet.
            folder: of this very model (see `weights_hash`); read at first use, made when written.
        """
        self.model, self.folder = model, Path(folder)
        self._known: dict[str, Tensor] | None = None
        self._new: dict[str, Tensor] = {}

    def encode_images(self, images: Tensor) -> Tensor:
        """Embed (B, 3, H, W) images in [0, 1]; (B, D) unit vectors on the CPU."""
        known = self._load()
        names = [image_hash(image) for image in images]
        absent = list({name: i for i, name in enumerate(names) if name not in known}.values())
        if absent:
            found = self.model.encode_images(images[absent]).cpu()
            self._new |= {names[i]: row.clone() for i, row in zip(absent, found, strict=True)}
            known |= self._new
            if len(self._new) >= IMAGES_A_FILE:
                self.save()
        return torch.stack([known[name] for name in names])

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embed texts; (len(texts), D) unit vectors on the CPU."""
        return self.model.encode_texts(texts).cpu()

    def save(self) -> None:
        """Write what is new as one file, named by what it holds."""
        if self._new:
            name = hashlib.sha256("".join(sorted(self._new)).encode()).hexdigest()[:16]
            save_safetensors(self.folder / f"{name}{SUFFIX}", self._new)
            self._new = {}

    def _load(self) -> dict[str, Tensor]:
        if self._known is None:
            self._known = {}
            for file in sorted(self.folder.glob(f"*{SUFFIX}")):
                try:
                    self._known |= load_file(file)
                except (SafetensorError, OSError):
                    file.unlink(missing_ok=True)  # cut short: it is computed again
        return self._known
