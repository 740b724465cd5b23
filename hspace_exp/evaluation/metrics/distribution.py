"""Distances between the edited and the unedited images as two sets, from features of any extractor."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hspace_exp.evaluation.functional.bootstrap import resample_blocks, resample_counts
from hspace_exp.evaluation.functional.distribution import frechet_distance, paired_kernel_distance, polynomial_kernel
from hspace_exp.evaluation.judged import JudgedBatch, known
from hspace_exp.evaluation.metrics.base import ImageMetric

WIDE = 256
# Of more pairs than this, so many random ones are used where all are compared with all (rows come in order of hashes).
KERNEL_IMAGES = 4096
MANY = 10_000


class FeatureDistance(ImageMetric):
    """Base of distances between the features of edited and of unedited images; pairs are resampled as pairs."""

    higher_is_better = False
    needs = ("before", "features")
    fewest = 2

    def observe(self, batch: JudgedBatch) -> Tensor:
        """(B, 2 F) features of both images of each pair."""
        return torch.cat([known(batch.features_edited), known(batch.features_original)], dim=1)

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """Whose features they are."""
        return f"{self.setting.features} features"


class FrechetDistance(FeatureDistance):
    """Fréchet distance (FID).

    A resample costs a decomposition of F x F: features wider than 256 get 20 resamples (a normal interval), others 200.
    """

    heading = "FID"
    digits = 2
    bounds = (0.0, None)

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """The distance."""
        return frechet_distance(*rows.chunk(2, dim=1))

    def replicates(self, rows: Tensor, groups: Tensor, strata: Tensor, random: torch.Generator) -> Tensor:
        """Fewer than of other metrics."""
        repeats = min(self.setting.repeats, 200 if rows.shape[1] <= 2 * WIDE else 20)
        return torch.cat([self.statistics(rows, groups, some) for some in resample_blocks(strata, repeats, random)])

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """Few images bias it."""
        caution = "" if len(rows) >= MANY else f", {len(rows)} images bias it upwards: compare at equal N only"
        return super().note(rows, groups) + caution


class KernelDistance(FeatureDistance):
    """Unbiased squared MMD with the cubic kernel (KID).

    Kernels of all pairs of images are worked out once; resamples, which are rows of weights, are one matrix product.
    """

    heading = "KID"
    digits = 4

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """The distance."""
        return self._distance(rows)(rows.new_ones(1, len(rows)))[0]

    def replicates(self, rows: Tensor, groups: Tensor, strata: Tensor, random: torch.Generator) -> Tensor:
        """Kernels are computed once and reweighted."""
        distance, blocks = self._distance(rows), resample_blocks(strata, self.setting.repeats, random)
        found = torch.cat([distance(resample_counts(indices)) for indices in blocks])
        # A resample of one single image has no pair; with two images that happens half of the time.
        return torch.where(found.isfinite(), found, distance(rows.new_ones(1, len(rows))))

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """Say when not all images were used."""
        caution = f", on {KERNEL_IMAGES} random pairs" if sum(map(len, self.keys)) > KERNEL_IMAGES else ""
        return super().note(rows, groups) + caution

    def _table(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """At most ``KERNEL_IMAGES`` of the images."""
        rows, groups, strata, keys = (found[:KERNEL_IMAGES] for found in super()._table())
        return rows, groups, strata, keys

    def _distance(self, rows: Tensor) -> Callable[[Tensor], Tensor]:
        """(R, N) weights of the images to (R,) distances, worked out on a GPU, if there is one, as it knows float64."""
        device = torch.device(self.setting.device)
        place = device if device.type == "cuda" else torch.device("cpu")
        x, y = rows.to(place).chunk(2, dim=1)
        distance = paired_kernel_distance(polynomial_kernel(x, x), polynomial_kernel(y, y), polynomial_kernel(x, y))
        return lambda weights: distance(weights.to(place)).to(weights.device)
