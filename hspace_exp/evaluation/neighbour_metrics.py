"""How far edited and unedited images lie in the same places, from nearest neighbours among features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hspace_exp.evaluation.distribution_metrics import KERNEL_IMAGES, FeatureDistance, workplace
from hspace_exp.evaluation.functional.bootstrap import resample_blocks
from hspace_exp.evaluation.functional.manifold import covered_of, density_of, distances, inside_of, nearest

MOST_NEIGHBOURS = 5


@dataclass(frozen=True)
class Nearness:
    """How near the features of N edited and N unedited images are to one another.

    Attributes:
        between: (N, N) distances, edited images are rows.
        edited: (N, k) distances of each edited image to the nearest other ones, nearest first.
        original: the same of the unedited images.
    """

    between: Tensor
    edited: Tensor
    original: Tensor


class Neighbourhoods:
    """Works nearness out once for all metrics that are given it and see the same features."""

    def __init__(self, device: str | torch.device = "cpu") -> None:
        """Say where to work."""
        self.workplace = workplace(device)
        self._last: tuple[Tensor, Nearness] | None = None

    def of(self, rows: Tensor) -> Nearness:
        """Of (N, 2 D) features of edited and unedited images."""
        if self._last is None or not torch.equal(self._last[0], rows):
            edited, original = rows.to(self.workplace).chunk(2, dim=1)
            count = min(MOST_NEIGHBOURS, len(rows) - 1)
            found = Nearness(distances(edited, original), nearest(edited, count), nearest(original, count))
            self._last = rows, found
        return self._last[1]


class NeighbourMean(FeatureDistance):
    """Base of means over images of something that their neighbours say; neighbourhoods stay when images are resampled.

    (Drawn twice, an image would be its own nearest neighbour.)
    """

    higher_is_better = True
    bounds: tuple[float | None, float | None] = (0.0, 1.0)
    neighbours = 3

    def __init__(self, *, repeats: int = 1000, seed: int = 0, neighbourhoods: Neighbourhoods | None = None) -> None:
        """Start empty; ``neighbourhoods`` may be shared with other metrics of the same images."""
        super().__init__(repeats=repeats, seed=seed)
        self.needs = self.neighbours + 1
        self.neighbourhoods = neighbourhoods or Neighbourhoods()

    def per_image(self, near: Nearness) -> Tensor:
        """(N,) numbers that are averaged."""
        raise NotImplementedError

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """The mean."""
        return self._values(rows).mean()

    def replicates(self, rows: Tensor, groups: Tensor, strata: Tensor, random: torch.Generator) -> Tensor:
        """Means of resampled images."""
        values = self._values(rows)
        blocks = resample_blocks(strata[:KERNEL_IMAGES], self.repeats, random)
        return torch.cat([values[indices].mean(1) for indices in blocks])

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """How near is near, and when not all images were used."""
        note = f"{self.neighbours} nearest neighbours"
        return f"{note}, on {KERNEL_IMAGES} random pairs" if len(rows) > KERNEL_IMAGES else note

    def _values(self, rows: Tensor) -> Tensor:
        return self.per_image(self.neighbourhoods.of(rows[:KERNEL_IMAGES])).double().to(rows.device)


class Precision(NeighbourMean):
    """Share of edited images near an unedited one; see ``functional.manifold``."""

    def per_image(self, near: Nearness) -> Tensor:
        """Whether it is."""
        return inside_of(near.between, near.original[:, self.neighbours - 1])


class Recall(NeighbourMean):
    """Share of unedited images near an edited one; see ``functional.manifold``."""

    def per_image(self, near: Nearness) -> Tensor:
        """Whether it is."""
        return inside_of(near.between.T, near.edited[:, self.neighbours - 1])


class Density(NeighbourMean):
    """How many neighbourhoods of unedited images hold an edited one, 1 if as many as expected."""

    bounds = (0.0, None)
    neighbours = 5

    def per_image(self, near: Nearness) -> Tensor:
        """How many, over k."""
        return density_of(near.between, near.original[:, self.neighbours - 1], self.neighbours)


class Coverage(NeighbourMean):
    """Share of unedited images with an edited one in their neighbourhood."""

    neighbours = 5

    def per_image(self, near: Nearness) -> Tensor:
        """Whether there is one."""
        return covered_of(near.between, near.original[:, self.neighbours - 1])
