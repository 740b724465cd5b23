"""Metrics of pairs: an unedited image and the edited one of the same prompt and noise."""

from __future__ import annotations

import torch
from torch import Tensor

from hspace_exp.evaluation.functional.background import masked_mean, masked_squared_error, psnr, ssim_map
from hspace_exp.evaluation.image_metric import DECIMALS, ImageMetric
from hspace_exp.evaluation.metrics import RowMean
from hspace_exp.record import MetricValue


class BackgroundPsnr(ImageMetric):
    """PSNR of the background in dB, from the squared error pooled over images; infinite gives None and a note."""

    higher_is_better: bool | None = True
    where = "background"

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
            note = f"infinite: no {self.where} pixel changed"
            return MetricValue(None, None, None, n, self.higher_is_better, note)
        bounds = [None if e is None else psnr(max(e, 0.0)) for e in (high, low)]
        if low is not None and bounds[1] is None:
            note = f"no upper bound: some resamples hold no changed {self.where}"
        rounded = [None if b is None else round(b, DECIMALS) for b in (best, *bounds)]
        return MetricValue(rounded[0], rounded[1], rounded[2], n, self.higher_is_better, note)


class BackgroundSsim(RowMean):
    """Mean over images of the SSIM of the background; images without background do not count.

    Elsewhere the edited image is taken to equal the unedited one, so that windows which reach into the person see no
    difference there.
    """

    higher_is_better: bool | None = True
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


class SubjectPsnr(BackgroundPsnr):
    """The same of the subject; what is passed as background is the subject's mask."""

    where = "subject"
    higher_is_better = None


class SubjectSsim(BackgroundSsim):
    """The same of the subject. An edit is to change it, but not beyond recognition: neither more nor less is better."""

    higher_is_better = None
