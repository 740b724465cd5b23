"""Metrics of pairs: an unedited image and the edited one of the same prompt and noise."""

from __future__ import annotations

import torch
from torch import Tensor

from hspace_exp.evaluation.functional.background import psnr
from hspace_exp.evaluation.image_metric import DECIMALS, ImageMetric
from hspace_exp.evaluation.metrics import RowMean
from hspace_exp.evaluation.value import MetricValue


class BackgroundPsnr(ImageMetric):
    """PSNR of the background in dB, from the squared error pooled over images; infinite gives None and a note."""

    higher_is_better: bool | None = True
    where = "background"

    def update(self, keys: Tensor, error: Tensor, count: Tensor, groups: Tensor | None = None) -> None:
        """Add (B,) sums of squared errors over (B,) numbers of values, see ``functional.masked_squared_error``."""
        seen = count > 0
        groups = torch.zeros_like(keys) if groups is None else groups
        self.add(keys[seen], torch.stack([error, count], dim=1)[seen], groups[seen])

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """Mean squared error over all background values."""
        return rows[:, 0].sum() / rows[:, 1].sum()

    def statistics(self, rows: Tensor, groups: Tensor, indices: Tensor) -> Tensor:
        """All at once."""
        return rows[:, 0][indices].sum(1) / rows[:, 1][indices].sum(1)

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
    """Mean over images of the SSIM of the background; images without background do not count."""

    higher_is_better: bool | None = True
    bounds = (-1.0, 1.0)

    def update(self, keys: Tensor, values: Tensor, groups: Tensor | None = None) -> None:
        """Add (B,) values of ``functional.pasted_ssim``, NaN where there is no background."""
        seen = values.isfinite()
        groups = torch.zeros_like(keys) if groups is None else groups
        self.add(keys[seen], values[seen], groups[seen])


class SubjectPsnr(BackgroundPsnr):
    """The same of the subject."""

    where = "subject"
    higher_is_better = None


class SubjectSsim(BackgroundSsim):
    """The same of the subject. An edit is to change it, but not beyond recognition: neither more nor less is better."""

    higher_is_better = None
