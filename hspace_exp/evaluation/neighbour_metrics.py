"""How far edited and unedited images lie in the same places, from nearest neighbours among features."""

from __future__ import annotations

import torch
from torch import Tensor

from hspace_exp.evaluation.distribution_metrics import KERNEL_IMAGES, FeatureDistance
from hspace_exp.evaluation.functional.bootstrap import bootstrap
from hspace_exp.evaluation.functional.manifold import covered, density, inside


class NeighbourMean(FeatureDistance):
    """Base of means over images of something that their neighbours say; neighbourhoods stay when images are resampled.

    (Drawn twice, an image would be its own nearest neighbour.)
    """

    higher_is_better = True
    bounds: tuple[float | None, float | None] = (0.0, 1.0)
    neighbours = 3

    def __init__(self, *, repeats: int = 1000, seed: int = 0) -> None:
        """Start empty."""
        super().__init__(repeats=repeats, seed=seed)
        self.needs = self.neighbours + 1

    def per_image(self, edited: Tensor, original: Tensor) -> Tensor:
        """(N,) numbers that are averaged."""
        raise NotImplementedError

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """The mean."""
        return self.per_image(*rows[:KERNEL_IMAGES].chunk(2, dim=1)).double().mean()

    def replicates(self, rows: Tensor, groups: Tensor, strata: Tensor, random: torch.Generator) -> Tensor:
        """Means of resampled images."""
        values = self.per_image(*rows[:KERNEL_IMAGES].chunk(2, dim=1)).double()
        return bootstrap(lambda i: values[i].mean(), strata[:KERNEL_IMAGES], self.repeats, random)

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """How near is near, and when not all images were used."""
        note = f"{self.neighbours} nearest neighbours"
        return f"{note}, on {KERNEL_IMAGES} random pairs" if len(rows) > KERNEL_IMAGES else note


class Precision(NeighbourMean):
    """Share of edited images near an unedited one; see ``functional.manifold``."""

    def per_image(self, edited: Tensor, original: Tensor) -> Tensor:
        """Whether it is."""
        return inside(edited, original, self.neighbours)


class Recall(NeighbourMean):
    """Share of unedited images near an edited one; see ``functional.manifold``."""

    def per_image(self, edited: Tensor, original: Tensor) -> Tensor:
        """Whether it is."""
        return inside(original, edited, self.neighbours)


class Density(NeighbourMean):
    """How many neighbourhoods of unedited images hold an edited one, 1 if as many as expected."""

    bounds = (0.0, None)
    neighbours = 5

    def per_image(self, edited: Tensor, original: Tensor) -> Tensor:
        """How many, over k."""
        return density(edited, original, self.neighbours)


class Coverage(NeighbourMean):
    """Share of unedited images with an edited one in their neighbourhood."""

    neighbours = 5

    def per_image(self, edited: Tensor, original: Tensor) -> Tensor:
        """Whether there is one."""
        return covered(edited, original, self.neighbours)
