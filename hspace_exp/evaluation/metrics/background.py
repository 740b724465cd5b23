"""What an edit changed outside the persons of both images."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from hspace_exp.errors import getting
from hspace_exp.evaluation.functional.content import masked_squared_error, pasted_ssim, psnr
from hspace_exp.evaluation.judged import JudgedBatch, known
from hspace_exp.evaluation.metrics.base import ImageMetric, RowMean
from hspace_exp.evaluation.value import MetricValue


class BackgroundPsnr(ImageMetric):
    """PSNR of the background in dB, from the squared error pooled over images; infinite gives None and a note."""

    heading = "Background PSNR"
    digits = 2
    higher_is_better = True
    by_profession = True
    needs = ("background",)

    def observe(self, batch: JudgedBatch) -> Tensor:
        """(B, 2) sum of squared errors and number of values; images without background do not count."""
        error, count = masked_squared_error(batch.edited, batch.original, known(batch.background))
        rows = torch.stack([error, count], dim=1)
        return torch.where(count[:, None] > 0, rows, torch.nan)

    def statistics(self, rows: Tensor, groups: Tensor, indices: Tensor) -> Tensor:
        """Mean squared errors over all background values."""
        return rows[:, 0][indices].sum(1) / rows[:, 1][indices].sum(1)

    def compute(self) -> Tensor:
        """The PSNR; infinite where nothing differs."""
        return -10 * torch.log10(super().compute())

    def present(self, value: float, low: float | None, high: float | None, n: int, note: str) -> MetricValue:
        """From errors to decibels: bounds change places."""
        best = psnr(value)
        if best is None:
            return self.told(None, None, None, n, "infinite: no background pixel changed")
        bounds = [None if error is None else psnr(error) for error in (high, low)]
        if low is not None and bounds[1] is None:
            note = "no upper bound: some resamples hold no changed background"
        return self.told(self.tidy(best), self.tidy(bounds[0]), self.tidy(bounds[1]), n, note)


class BackgroundSsim(RowMean):
    """Mean over images of the SSIM of the background; images without background do not count."""

    heading = "Background SSIM"
    higher_is_better = True
    bounds = (-1.0, 1.0)
    by_profession = True
    needs = ("background",)

    def observe(self, batch: JudgedBatch) -> Tensor:
        """(B,) likenesses."""
        return pasted_ssim(batch.edited, batch.original, known(batch.background))


class BackgroundLpips(RowMean):
    """How different backgrounds look, all else taken from the unedited image: LPIPS of Zhang et al. (CVPR 2018).

    By torchmetrics; its backbone's weights come through torchvision.
    """

    heading = "Background LPIPS"
    higher_is_better = False
    bounds = (0.0, None)
    by_profession = True
    needs = ("background",)

    def __init__(self, backbone: Literal["alex", "vgg", "squeeze"] = "alex", device: str = "cpu") -> None:
        """Load the network whose features are compared, and that computes on ``device``.

        Raises UserError: the backbone's weights cannot be had.
        """
        super().__init__()
        file = "put torchvision's file into torch's hub folder"
        with getting(f"LPIPS' {backbone} weights", f"{file} or leave the metric background_lpips out"):
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

            network: Any = LearnedPerceptualImagePatchSimilarity(backbone, reduction="none", normalize=True)
        self.network, self.place = network.net.to(device).eval(), device

    @torch.no_grad()
    def observe(self, batch: JudgedBatch) -> Tensor:
        """(B,) distances, at least 0."""
        if batch.edited is batch.original:
            return torch.zeros(len(batch.keys), dtype=torch.float64)
        pasted = torch.where(known(batch.background), batch.edited, batch.original)
        found: Tensor = self.network(*(x.to(self.place).float() for x in (pasted, batch.original)), normalize=True)
        return found.flatten().double().cpu()
