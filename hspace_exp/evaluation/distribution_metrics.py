"""Distances between the edited and the unedited images as two sets, from features of any extractor."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from hspace_exp.evaluation.functional.bootstrap import resample_blocks, resample_counts, resamples
from hspace_exp.evaluation.functional.distribution import (
    CMMD_SCALE,
    frechet_distance,
    gaussian_kernel,
    paired_biased_kernel_distance,
    paired_kernel_distance,
    polynomial_kernel,
)
from hspace_exp.evaluation.image_metric import ImageMetric
from hspace_exp.evaluation.value import MetricValue

# (R, N) weights of the images, one resample a row, to (R,) distances.
Weighted = Callable[[Tensor], Tensor]

WIDE = 256
# Of more pairs than this, so many random ones are used where all are compared with all (rows come in order of hashes).
KERNEL_IMAGES = 4096
MANY = 10_000


class FeatureDistance(ImageMetric):
    """Base of distances between the features of edited and of unedited images; pairs are resampled as pairs."""

    higher_is_better = False
    needs = 2

    def __init__(self, *, repeats: int = 1000, seed: int = 0) -> None:
        """Start empty."""
        super().__init__(repeats=repeats, seed=seed)

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

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """Few images bias it."""
        return "" if len(rows) >= MANY else f"{len(rows)} images bias it upwards: compare at equal N only"


def workplace(device: str | torch.device) -> torch.device:
    """Where sums over all pairs of images are worked out: on a GPU that knows float64, else on the CPU."""
    device = torch.device(device)
    return device if device.type == "cuda" else torch.device("cpu")


class KernelBased(FeatureDistance):
    """Base of distances from kernels of all pairs of images, which resamples only weigh anew.

    A resample is a row of weights, so that many of them are one matrix product.
    """

    def __init__(self, *, repeats: int = 1000, seed: int = 0, device: str | torch.device = "cpu") -> None:
        """Start empty; ``device`` is where kernels are worked out."""
        super().__init__(repeats=repeats, seed=seed)
        self.workplace = workplace(device)
        self._known: tuple[Tensor, Weighted] | None = None

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """(N, D) and (M, D) features to (N, M)."""
        raise NotImplementedError

    def distance(self, xx: Tensor, yy: Tensor, xy: Tensor) -> Weighted:
        """The distance, from the kernels within edited images, within unedited ones, and between them."""
        raise NotImplementedError

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """The distance."""
        ones = torch.ones(1, min(len(rows), KERNEL_IMAGES), dtype=torch.float64, device=self.workplace)
        return self._weighted(rows)(ones)[0].to(rows.device)

    def replicates(self, rows: Tensor, groups: Tensor, strata: Tensor, random: torch.Generator) -> Tensor:
        """Kernels are computed once and reweighted."""
        distance, blocks = self._weighted(rows), resample_blocks(strata[:KERNEL_IMAGES], self.repeats, random)
        found = torch.cat([distance(resample_counts(indices.to(self.workplace))) for indices in blocks])
        found = found.to(rows.device)
        # A resample of one single image has no pair; with two images that happens half of the time.
        return torch.where(found.isfinite(), found, self.statistic(rows, groups))

    def result(self) -> MetricValue:
        """The value; kernels are not kept."""
        try:
            return super().result()
        finally:
            self._known = None

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """Say when not all images were used."""
        return f"on {KERNEL_IMAGES} random pairs" if len(rows) > KERNEL_IMAGES else ""

    def _weighted(self, rows: Tensor) -> Weighted:
        if self._known is None or self._known[0] is not rows:
            x, y = rows[:KERNEL_IMAGES].to(self.workplace).chunk(2, dim=1)
            self._known = rows, self.distance(self.kernel(x, x), self.kernel(y, y), self.kernel(x, y))
        return self._known[1]


class KernelDistance(KernelBased):
    """Unbiased squared MMD with the cubic kernel (KID)."""

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """The cubic kernel."""
        return polynomial_kernel(x, y)

    def distance(self, xx: Tensor, yy: Tensor, xy: Tensor) -> Weighted:
        """The unbiased estimator."""
        return paired_kernel_distance(xx, yy, xy)


class ClipMmd(KernelBased):
    """CMMD of Jayasumana et al., "Rethinking FID" (CVPR 2024): Gaussian kernel of width 10 on unit vectors, times 1000.

    With the features of CLIP ViT-L/14@336 it is the published number; no Gaussian is assumed of the features, and few
    images bias it far less than the Fréchet distance.
    """

    bounds = (0.0, None)

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """The Gaussian kernel of features scaled to unit length."""
        return gaussian_kernel(F.normalize(x.double(), dim=1), F.normalize(y.double(), dim=1))

    def distance(self, xx: Tensor, yy: Tensor, xy: Tensor) -> Weighted:
        """The minimum-variance estimator, as published."""
        distance = paired_biased_kernel_distance(xx, yy, xy)
        return lambda weights: CMMD_SCALE * distance(weights)
