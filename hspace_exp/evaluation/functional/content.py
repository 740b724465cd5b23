"""What images show beside the attribute: their texts, what an edit left alone, and how it changed the background."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

SSIM_RADIUS = 5


def clip_alignment(image_features: Tensor, text_features: Tensor) -> Tensor:
    """100 times the cosine of each image and its own text, (N, D) features of any length; (N,) float64 in [-100, 100].

    The CLIPScore of Hessel et al. (EMNLP 2021) without its rescaling by 2.5 and without cutting negative values off.
    """
    return 100 * F.cosine_similarity(image_features.double(), text_features.double(), dim=-1)


def any_changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Tensor:
    """(N,) bool whether at least one attribute of an image changed: entanglement is the mean of this.

    Both map each attribute that should have stayed to (N,) classes; negative is unclear, which is no change.
    """
    changed = [(before[n] != after[n]) & (before[n] >= 0) & (after[n] >= 0) for n in before]
    return torch.stack(changed).any(0)


def dilate(mask: Tensor, radius: int) -> Tensor:
    """Grow (B, 1, H, W) bool masks by ``radius`` pixels in the maximum norm (a square of side 2·radius + 1)."""
    side = 2 * radius + 1  # a square's maximum is that of its columns' maxima
    columns = F.max_pool2d(mask.float(), (side, 1), stride=1, padding=(radius, 0))
    return F.max_pool2d(columns, (1, side), stride=1, padding=(0, radius)) > 0


def background_mask(person_a: Tensor, person_b: Tensor, margin: float = 1 / 16) -> Tensor:
    """(B, 1, H, W) bool where neither image has its person nor the person's surroundings.

    Masks of persons are (B, 1, H, W), bool or in [0, 1] and cut at 1/2; they grow by ``margin``, a share of the side.
    """
    union = (person_a.float() >= 0.5) | (person_b.float() >= 0.5)
    return ~dilate(union, round(margin * person_a.shape[-1]))


def masked_squared_error(a: Tensor, b: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Sums that PSNR pools over (B, C, H, W) images in [0, 1]: squared errors inside the mask, and how many there are.

    The mask is (B, 1, H, W) bool; the sums are (B,) float64 each.
    """
    inside = mask.double()
    return ((a.double() - b.double()).square() * inside).sum((1, 2, 3)), inside.sum((1, 2, 3)) * a.shape[1]


def psnr(mean_squared_error: float) -> float | None:
    """Peak signal-to-noise ratio in dB of values in [0, 1]; None (infinite) where nothing differs."""
    if mean_squared_error <= 0:
        return None
    return float(-10 * torch.log10(torch.tensor(mean_squared_error, dtype=torch.float64)))


def pasted_ssim(edited: Tensor, original: Tensor, mask: Tensor) -> Tensor:
    """(B,) float64 mean SSIM within a mask, where outside it the edited image is taken to equal the original.

    So windows that reach out of the mask see no difference there. SSIM is that of eq. (13) of Wang et al. (2004) by
    torchmetrics, in float32: Gaussian window of 11 x 11 pixels with standard deviation 1.5, K1 = 0.01, K2 = 0.03,
    averaged over channels. Images are (B, C, H, W) in [0, 1], the mask (B, 1, H, W) bool; NaN where it is empty.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure  # seconds, which others need not take

    pasted, original = torch.where(mask, edited, original).float(), original.float()
    found = structural_similarity_index_measure(
        pasted, original, reduction="none", data_range=1.0, return_full_image=True
    )
    likeness = found[1].mean(1, keepdim=True)
    # Windows without any difference are alike by definition, whatever float32 makes of them.
    differs = dilate((pasted != original).any(1, keepdim=True), SSIM_RADIUS)
    inside = mask.double()
    return (torch.where(differs, likeness, 1.0) * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3))
