"""The low-frequency term lambda * LL(h), and low-pass filters LL of h: pure functions that stay on their device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hspace_exp.config.schema import Factor
from hspace_exp.errors import UserError, unknown
from hspace_exp.models.hspace import BRANCHES

SOURCES = ("original", "current")


def haar_lowpass(h: Tensor, levels: int = 1) -> Tensor:
    """Low band of the Haar wavelet transform of (B, C, H, W) of any real type: detail bands zeroed, then inverted.

    Implements LL(h) of Shokrolahi et al. (2026). For Haar that is exactly the mean over 2x2 blocks, repeated back.
    Odd sizes are padded by repeating the last row or column, as PyWavelets' ``symmetric`` mode does, and cropped.
    Each of ``levels``, at least 1, halves the band.
    """
    if levels < 1:
        raise UserError(f"expected at least 1 wavelet level, got {levels}")
    height, width = h.shape[-2:]
    padded = F.pad(h, (0, width % 2, 0, height % 2), mode="replicate") if height % 2 or width % 2 else h
    low = F.avg_pool2d(padded, 2)
    if levels > 1:
        low = haar_lowpass(low, levels - 1)
    return low.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)[..., :height, :width]


def fft_lowpass(h: Tensor, cutoff: float = 0.5) -> Tensor:
    """Ideal low-pass: keeps the frequencies whose radius is at most ``cutoff`` times the Nyquist frequency.

    Of (B, C, H, W) of any real type, computed in float32. The cutoff is in (0, sqrt(2)]: 0.5 keeps about the band of
    one Haar level, sqrt(2) everything.
    """
    if not 0 < cutoff <= 2**0.5 + 1e-6:
        raise UserError(f"expected a cutoff in (0, sqrt(2)] (1 is the Nyquist frequency), got {cutoff}")
    height, width = h.shape[-2:]
    rows = torch.fft.fftfreq(height, d=0.5, device=h.device)
    columns = torch.fft.rfftfreq(width, d=0.5, device=h.device)
    keep = (rows[:, None] ** 2 + columns[None, :] ** 2).sqrt() <= cutoff + 1e-6
    return torch.fft.irfft2(torch.fft.rfft2(h.float()) * keep, s=(height, width)).to(h.dtype)


@dataclass(frozen=True)
class LowFrequency:
    """lambda * LL(h) at inference, Shokrolahi et al. (2026)."""

    weight: Factor = 0.0  # lambda; 0 switches the term off
    source: str = "current"  # of LL: h, or the ``original``, the unedited run of the same seed, which is run along
    transform: Callable[[Tensor], Tensor] | None = None  # LL, a function of (B, C, H, W)
    # ``both`` halves of guidance, or the ``conditional`` one, where guidance multiplies the term; None: as the vector
    branch: str | None = None

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.source not in SOURCES:
            raise unknown("source of the low frequencies", self.source, SOURCES)
        if self.branch is not None and self.branch not in BRANCHES:
            raise unknown("branch of the low frequencies", self.branch, BRANCHES)
        if self.weight and self.transform is None:
            raise UserError(f"frequency.weight is {self.weight} but there is no transform: use frequency=haar or none")

    @property
    def lowpass(self) -> Callable[[Tensor], Tensor] | None:
        """LL, where the term is on."""
        return self.transform if self.weight else None

    @property
    def paired(self) -> bool:
        """Whether the unedited runs must go along."""
        return bool(self.weight) and self.source == "original"
