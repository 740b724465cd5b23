"""Metrics of pairs: an unedited image and the edited one of the same prompt and noise."""

from __future__ import annotations

import torch
from torch import Tensor

from hspace_exp.evaluation.functional.background import masked_mean, masked_squared_error, psnr, ssim_map
from hspace_exp.evaluation.functional.bootstrap import resamples
from hspace_exp.evaluation.functional.distribution import (
    frechet_distance,
    kernel_distance,
    kernel_distance_of,
    polynomial_kernel,
)
from hspace_exp.evaluation.image_metric import DECIMALS, ImageMetric
from hspace_exp.evaluation.metrics import RowMean
from hspace_exp.record import MetricValue

WIDE = 256
KERNEL_IMAGES = 4096


class FeatureDistance(ImageMetric):
    """Base of distances between the features of edited and of unedited images; pairs are resampled as pairs."""

    higher_is_better = False
    needs = 2

    def update(self, keys: Tensor, edited: Tensor, original: Tensor) -> None:
        """Add (B, D) features of both images of each pair."""
        self.add(keys, torch.cat([edited, original], dim=1))


class FrechetDistance(FeatureDistance):
    """Fréchet distance (FID).

    A resample costs a decomposition of D x D: features wider than 256 get 20 resamples (a normal interval), others 200.
    """

    bounds = (0.0, None)

    def __init__(self, *, repeats: int = 1000, seed: int = 0) -> None:
        """Start empty; see the class about ``repeats``."""
        super().__init__(repeats=min(repeats, 200), seed=seed)

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """The distance."""
        return frechet_distance(*rows.chunk(2, dim=1))

    def replicates(self, rows: Tensor, groups: Tensor, strata: Tensor, random: torch.Generator) -> Tensor:
        """Fewer for wide features."""
        repeats = self.repeats if rows.shape[1] <= 2 * WIDE else min(self.repeats, 20)
        return torch.stack([self.statistic(rows[i], groups[i]) for i in resamples(strata, repeats, random)])


class KernelDistance(FeatureDistance):
    """Unbiased squared MMD with the cubic kernel (KID); of more than 4096 pairs, a fixed random 4096 are used."""

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """The distance."""
        return kernel_distance_of(*rows[:KERNEL_IMAGES].chunk(2, dim=1))

    def replicates(self, rows: Tensor, groups: Tensor, strata: Tensor, random: torch.Generator) -> Tensor:
        """Kernels are computed once and reweighted."""
        x, y = rows[:KERNEL_IMAGES].chunk(2, dim=1)
        kernels = polynomial_kernel(x, x), polynomial_kernel(y, y), polynomial_kernel(x, y)
        values = []
        for indices in resamples(strata[:KERNEL_IMAGES], self.repeats, random):
            weight = torch.bincount(indices, minlength=len(x)).double()
            values.append(kernel_distance(*kernels, weight, weight))
        # A resample of one single image has no pair; with two images that happens half of the time.
        found = torch.stack(values)
        return torch.where(found.isfinite(), found, self.statistic(rows, groups))

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """Say when not all images were used."""
        return f"on {KERNEL_IMAGES} random pairs" if len(rows) > KERNEL_IMAGES else ""


class BackgroundPsnr(ImageMetric):
    """PSNR of the background in dB, from the squared error pooled over images; infinite gives None and a note."""

    higher_is_better = True

    def update(
        self, keys: Tensor, edited: Tensor, original: Tensor, background: Tensor, groups: Tensor | None = None
    ) -> None:
        """Add (B, 3, H, W) images in [0, 1] with their (B, 1, H, W) bool background."""
        error, count = masked_squared_error(edited, original, background)
        seen = count > 0
        groups = torch.zeros_like(keys) if groups is None else groups
        rows, there = torch.stack([error, count], dim=1)[seen], seen.to(keys.device)
        self.add(keys[there], rows, groups[there])

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """Mean squared error over all background values."""
        return rows[:, 0].sum() / rows[:, 1].sum()

    def compute(self) -> Tensor:
        """The PSNR; infinite where nothing differs."""
        return -10 * torch.log10(super().compute())

    def present(self, value: float, low: float | None, high: float | None, n: int, note: str) -> MetricValue:
        """From errors to decibels: bounds change places."""
        best = None if value <= 0 else psnr(value)
        if best is None:
            note = "infinite: no background pixel changed"
            return MetricValue(None, None, None, n, self.higher_is_better, note)
        bounds = [None if e is None else psnr(max(e, 0.0)) for e in (high, low)]
        if low is not None and bounds[1] is None:
            note = "no upper bound: some resamples hold no changed background"
        rounded = [None if b is None else round(b, DECIMALS) for b in (best, *bounds)]
        return MetricValue(rounded[0], rounded[1], rounded[2], n, self.higher_is_better, note)


class BackgroundSsim(RowMean):
    """Mean over images of the SSIM of the background; images without background do not count.

    Elsewhere the edited image is taken to equal the unedited one, so that windows which reach into the person see no
    difference there.
    """

    higher_is_better = True
    bounds = (-1.0, 1.0)

    def update(
        self, keys: Tensor, edited: Tensor, original: Tensor, background: Tensor, groups: Tensor | None = None
    ) -> None:
        """Add (B, 3, H, W) images in [0, 1] with their (B, 1, H, W) bool background."""
        values = masked_mean(ssim_map(torch.where(background, edited, original), original), background)
        groups = torch.zeros_like(keys) if groups is None else groups
        seen = values.isfinite()
        there = seen.to(keys.device)
        self.add(keys[there], values[seen], groups[there])
