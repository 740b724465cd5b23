"""Inference as released with "Learning Where It Matters": a recorded pass, wavelets by channel, a second pass."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import edit_hspace
from hspace_exp.models.prompts import PromptEmbeds
from hspace_exp.models.sampling import Sampling

HALVES = ("unconditional", "own")


def wavelet_of_channel() -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    """LL of one channel (H, W), and what computes it.

    Raises:
        UserError: PyWavelets, which the released code calls for each channel, is missing. Nothing stands in for it:
            the same sums in plain NumPy are much faster, so a ratio to them would be a ratio to other code.
    """
    if find_spec("pywt") is None:
        raise UserError("expected PyWavelets, which the released inference calls: pip install 'PyWavelets>=1.8'")
    import pywt

    def low(channel: np.ndarray) -> np.ndarray:
        approximation, _ = pywt.dwt2(channel, "haar")
        return pywt.idwt2((approximation, (None, None, None)), "haar")

    return f"PyWavelets {pywt.__version__}", low


def low_frequencies(h: Tensor, transform: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """LL(h) of (B, C, H, W): off the device, a loop over rows and channels, and back."""
    rows = h.float().cpu().numpy()
    low = np.stack([np.stack([transform(channel) for channel in row]) for row in rows])
    return torch.from_numpy(low.astype(np.float32)).to(h.device)


class ReleasedInference:
    """h + s * v + weight * LL(h_0) in both halves of guidance, h_0 recorded in an unedited pass of the same noise."""

    def __init__(
        self, backbone: Backbone, vector: Tensor, strength: float, weight: float, halves: str = "unconditional"
    ) -> None:
        """Take what is applied.

        Args:
            backbone: frozen.
            vector: (C, 1, 1) or (C, H, W).
            strength: s.
            weight: of LL.
            halves: LL of the ``unconditional`` half serves both, as released, or each half has its ``own``.
        """
        self.backbone, self.vector = backbone, vector.to(backbone.device)
        self.strength, self.weight, self.halves = strength, weight, halves
        self.made_by, self.transform = wavelet_of_channel()

    def __call__(self, noise: Tensor, embeds: PromptEmbeds, steps: int) -> Tensor:
        """Edited latents (B, C, H, W); the embeddings are computed once, as ours are."""
        recorded: list[Tensor] = []

        def record(h: Tensor) -> Tensor:
            recorded.append(h.clone() if self.halves == "own" else h[: len(noise)].clone())
            return h

        with edit_hspace(self.backbone.unet, record):
            Sampling(steps)(self.backbone, noise, embeds)
        ahead = iter(recorded)

        def edit(h: Tensor) -> Tensor:
            low = low_frequencies(next(ahead), self.transform)
            low = low if self.halves == "own" else torch.cat([low, low])
            return (h.float() + self.strength * self.vector + self.weight * low).to(h.dtype)

        with edit_hspace(self.backbone.unet, edit):
            return Sampling(steps)(self.backbone, noise, embeds)
