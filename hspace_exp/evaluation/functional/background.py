"""How much of the background an edit changed: errors outside the persons of both images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hspace_exp.errors import UserError

SSIM_SIGMA = 1.5
SSIM_RADIUS = 5


def dilate(mask: Tensor, radius: int) -> Tensor:
    """Grow (B, 1, H, W) bool masks by ``radius`` pixels in the maximum norm (a square of side 2·radius + 1)."""
    if radius == 0:
        return mask
    return F.max_pool2d(mask.float(), 2 * radius + 1, stride=1, padding=radius) > 0


def background_mask(person_a: Tensor, person_b: Tensor, margin: float = 1 / 16) -> Tensor:
    """Where neither image has its person nor the person's surroundings.

    Args:
        person_a: (B, 1, H, W) mask, bool or in [0, 1] and cut at 1/2.
        person_b: the same of the other image.
        margin: radius of the dilation as a share of the side.

    Returns:
        (B, 1, H, W) bool.
    """
    if person_a.shape != person_b.shape or person_a.ndim != 4 or person_a.shape[1] != 1:
        raise UserError(
            f"expected two masks of shape (B, 1, H, W), got {tuple(person_a.shape)} and {tuple(person_b.shape)}"
        )
    union = (person_a.float() >= 0.5) | (person_b.float() >= 0.5)
    return ~dilate(union, round(margin * person_a.shape[-1]))


def masked_squared_error(a: Tensor, b: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Sums that PSNR pools over images.

    Args:
        a: (B, C, H, W) in [0, 1].
        b: (B, C, H, W) in [0, 1].
        mask: (B, 1, H, W) bool, what counts.

    Returns:
        (B,) sum of squared errors over counted values, (B,) number of counted values; float64.
    """
    inside = mask.double()
    return ((a.double() - b.double()).square() * inside).sum((1, 2, 3)), inside.sum((1, 2, 3)) * a.shape[1]


def psnr(mean_squared_error: float) -> float | None:
    """Peak signal-to-noise ratio in dB of values in [0, 1]; None (infinite) where nothing differs."""
    if mean_squared_error <= 0:
        return None
    return float(-10 * torch.log10(torch.tensor(mean_squared_error, dtype=torch.float64)))


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity at each pixel.

    Implements eq. (13) of Wang et al. (2004): Gaussian window of 11 x 11 pixels with standard deviation 1.5,
    K1 = 0.01, K2 = 0.03, averaged over channels. Borders repeat the outermost pixel.

    Args:
        a: (B, C, H, W) in [0, 1].
        b: (B, C, H, W) in [0, 1].

    Returns:
        (B, 1, H, W) float64 in [-1, 1].
    """
    a, b = a.double(), b.double()
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a = _blur(a * a) - mean_a**2
    variance_b = _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (likeness / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))).mean(1, keepdim=True)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, 1, H, W) values over (B, 1, H, W) masks; (B,) float64, NaN where the mask is empty."""
    inside = mask.double()
    return (values * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3))


def _blur(images: Tensor) -> Tensor:
    # Two banded matrices: many times faster on a CPU than a float64 convolution by groups.
    rows, columns = (_window(size, images) for size in images.shape[-2:])
    return rows @ images @ columns.T


def _window(size: int, like: Tensor) -> Tensor:
    """(size, size): row i weighs the pixels around i; those beyond a border count as the outermost pixel."""
    offsets = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, device=like.device)
    weights = torch.exp(-(offsets.to(like.dtype) ** 2) / (2 * SSIM_SIGMA**2))
    centres = torch.arange(size, device=like.device)[:, None]
    weights = (weights / weights.sum()).expand(size, -1)
    return like.new_zeros(size, size).scatter_add_(1, (centres + offsets).clamp(0, size - 1), weights)
