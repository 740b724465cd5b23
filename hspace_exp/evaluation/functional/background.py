"""How much of the background an edit changed: errors outside the persons of both images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from hspace_exp.errors import UserError

SSIM_SIGMA = 1.5
SSIM_RADIUS = 5
# Values of images that are compared at once on a CPU: few enough for the dozen intermediate results to stay in cache.
CACHED = 2**17


def dilate(mask: Tensor, radius: int) -> Tensor:
    """Grow (B, 1, H, W) bool masks by ``radius`` pixels in the maximum norm (a square of side 2·radius + 1)."""
    if radius == 0:
        return mask
    side = 2 * radius + 1  # a square's maximum is that of its columns' maxima
    columns = F.max_pool2d(mask.float(), (side, 1), stride=1, padding=(radius, 0))
    return F.max_pool2d(columns, (1, side), stride=1, padding=(0, radius)) > 0


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
    return _likeness(a, b, _moments(a), _moments(b))


def pasted_ssim(edited: Tensor, original: Tensor, masks: Sequence[Tensor]) -> list[Tensor]:
    """Mean SSIM within each of several masks, where outside it the edited image is taken to equal the original.

    So windows that reach out of a mask see no difference there. The original is looked at once for all masks.

    Args:
        edited: (B, C, H, W) in [0, 1].
        original: (B, C, H, W) in [0, 1].
        masks: (B, 1, H, W) bool each.

    Returns:
        (B,) float64 for each mask; NaN where it is empty.
    """
    few = len(original) if original.is_cuda else max(1, CACHED // original[0].numel())
    slices = [slice(start, start + few) for start in range(0, len(original), few)]
    parts = [_pasted(edited[rows], original[rows], [mask[rows] for mask in masks]) for rows in slices]
    return [torch.cat(values) for values in zip(*parts, strict=True)]


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, 1, H, W) values over (B, 1, H, W) masks; (B,) float64, NaN where the mask is empty."""
    inside = mask.double()
    return (values * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3))


def _pasted(edited: Tensor, original: Tensor, masks: Sequence[Tensor]) -> list[Tensor]:
    before, found = original.double(), []
    moments = _moments(before)
    for mask in masks:
        pasted = torch.where(mask, edited, original).double()
        found.append(masked_mean(_likeness(pasted, before, _moments(pasted), moments), mask))
    return found


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance around each pixel."""
    mean = _blur(images)
    return mean, _blur(images * images) - mean**2


def _likeness(a: Tensor, b: Tensor, of_a: tuple[Tensor, Tensor], of_b: tuple[Tensor, Tensor]) -> Tensor:
    """SSIM (B, 1, H, W) of float64 images whose moments are known."""
    (mean_a, variance_a), (mean_b, variance_b) = of_a, of_b
    covariance = _blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (likeness / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))).mean(1, keepdim=True)


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
