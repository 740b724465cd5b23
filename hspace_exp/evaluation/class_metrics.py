"""Metrics of how evenly professions present the classes of an attribute."""

from __future__ import annotations

from itertools import islice
from typing import Unpack

import torch
from torch import Tensor

from hspace_exp.evaluation.functional.bootstrap import BLOCK, resamples
from hspace_exp.evaluation.functional.corrected import (
    corrected_shares,
    corrected_shares_of_resamples,
    resampled_confusion,
)
from hspace_exp.evaluation.functional.fairness import bias_amplification, class_counts, deviation_ratio
from hspace_exp.evaluation.functional.noise_floor import deviation_ratio_floor
from hspace_exp.evaluation.functional.parity import parity_gap, total_variation
from hspace_exp.evaluation.image_metric import ImageMetric, Resampling, smallest_keys
from hspace_exp.evaluation.value import MetricValue


class ClassBalance(ImageMetric):
    """Base: a number of each group's counts of classes, averaged over groups."""

    higher_is_better = False
    bounds = (0.0, 1.0)

    def __init__(self, num_classes: int, **options: Unpack[Resampling]) -> None:
        """Say how many classes the attribute has."""
        super().__init__(stratified=True, **options)
        self.num_classes = num_classes

    def update(self, keys: Tensor, classes: Tensor, groups: Tensor) -> None:
        """Add (B,) classes of the images of (B,) groups; unclear ones (negative) do not count."""
        clear = classes >= 0
        self.add(keys[clear], classes[clear], groups[clear])

    def formula(self, counts: Tensor) -> Tensor:
        """(G, C) counts to (G,) numbers."""
        raise NotImplementedError

    def counts(self, rows: Tensor, groups: Tensor) -> Tensor:
        """(G', C) images of each group that occurs and each class."""
        present, member = groups.unique(return_inverse=True)
        return class_counts(rows[:, 0].long(), member, len(present), self.num_classes)

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """Mean over groups."""
        return self.formula(self.counts(rows, groups)).mean()

    def statistics(self, rows: Tensor, groups: Tensor, indices: Tensor) -> Tensor:
        """All at once."""
        return self.formula(self.resampled_counts(rows, groups, indices)).mean(-1)

    def resampled_counts(self, rows: Tensor, groups: Tensor, indices: Tensor) -> Tensor:
        """(R, G', C) ``counts`` of each row of (R, N) indices; resamples keep the groups' sizes."""
        present, member = groups.unique(return_inverse=True)
        cells = member * self.num_classes + rows[:, 0].long()[indices]
        size = len(present) * self.num_classes
        cells += size * torch.arange(len(indices), device=cells.device)[:, None]
        found = torch.bincount(cells.flatten(), minlength=size * len(indices))
        return found.view(len(indices), len(present), self.num_classes)

    def group_values(self, rows: Tensor, groups: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Each group's own number; all weigh the same."""
        names = smallest_keys(groups, keys)
        values = self.formula(self.counts(rows, names))
        return values, torch.ones_like(values)

    def group_counts(self) -> dict[int, list[int]]:
        """Images of each class, for each group number."""
        rows, groups, _, _ = self._table()
        return dict(zip(groups.unique().tolist(), self.counts(rows, groups).tolist(), strict=True))


class DeviationRatio(ClassBalance):
    """Deviation ratio of each group's classes, averaged over groups; see ``functional.fairness``."""

    def formula(self, counts: Tensor) -> Tensor:
        """The deviation ratio."""
        return deviation_ratio(counts)

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """What evenly drawn classes would score with as many images."""
        return f"classes drawn evenly at random would give {self.floor(rows, groups):.3f}"

    def floor(self, rows: Tensor, groups: Tensor) -> float:
        """Expected value if every image drew its class evenly; see ``functional.noise_floor``."""
        sizes = self.counts(rows, groups).sum(1).tolist()
        return sum(deviation_ratio_floor(size, self.num_classes) for size in sizes) / len(sizes)


class TotalVariation(ClassBalance):
    """Total-variation distance of each group's classes to even ones, averaged over groups."""

    def formula(self, counts: Tensor) -> Tensor:
        """The distance."""
        return total_variation(counts)


class ParityGap(ClassBalance):
    """Largest minus smallest share of each group's classes, averaged over groups."""

    def formula(self, counts: Tensor) -> Tensor:
        """The gap."""
        return parity_gap(counts)


class CorrectedDeviationRatio(DeviationRatio):
    """Deviation ratio of the shares that explain what an erring judge saw; see ``functional.corrected``.

    The interval also resamples the images that the judge was measured on.
    """

    confusion: Tensor

    def __init__(self, confusion: Tensor, **options: Unpack[Resampling]) -> None:
        """Take the judge's (C, C) confusion matrix: rows are true classes."""
        super().__init__(len(confusion), **options)
        self.register_buffer("confusion", confusion.double(), persistent=False)

    def formula(self, counts: Tensor) -> Tensor:
        """The deviation ratio of corrected shares; NaN where the judge cannot tell classes apart."""
        return self._of(counts, self.confusion)

    def replicates(self, rows: Tensor, groups: Tensor, strata: Tensor, random: torch.Generator) -> Tensor:
        """Of resampled images and a resampled confusion matrix; resamples that cannot be inverted do not count."""
        draws, values = resamples(strata, self.repeats, random), []
        while drawn := [
            (indices, resampled_confusion(self.confusion, random))
            for indices in islice(draws, max(1, BLOCK // len(strata)))
        ]:
            indices, confusions = (torch.stack(some) for some in zip(*drawn, strict=True))
            shares = corrected_shares_of_resamples(self.resampled_counts(rows, groups, indices), confusions)
            values.append(deviation_ratio(shares).mean(-1))
        found = torch.cat(values)
        return found[found.isfinite()] if int(found.isfinite().sum()) > 1 else found.nan_to_num()

    def result(self) -> MetricValue:
        """The value, or null where the judge cannot tell classes apart."""
        rows, groups, _, _ = self._table()
        if len(rows) and not bool(self.statistic(rows, groups).isfinite()):
            note = "the judge cannot tell the classes apart on images of known truth"
            return MetricValue(None, None, None, len(rows), self.higher_is_better, note)
        return super().result()

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """How well the judge was known."""
        return f"by the judge's errors on {int(self.confusion.sum())} images of known truth"

    @staticmethod
    def _of(counts: Tensor, confusion: Tensor) -> Tensor:
        shares = corrected_shares(counts, confusion)
        if shares is None:
            return torch.full(counts.shape[:1], torch.nan, dtype=torch.float64, device=counts.device)
        return deviation_ratio(shares)


class BiasAmplification(ClassBalance):
    """Change towards the majority of the data; see ``functional.fairness``."""

    bounds = (-1.0, 1.0)
    truth: Tensor

    def __init__(self, truth: Tensor, **options: Unpack[Resampling]) -> None:
        """Take the (G, C) probabilities of the data."""
        super().__init__(truth.shape[1], **options)
        self.register_buffer("truth", truth.double(), persistent=False)

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """Mean over groups."""
        return bias_amplification(self.counts(rows, groups), self.truth[groups.unique()])

    def statistics(self, rows: Tensor, groups: Tensor, indices: Tensor) -> Tensor:
        """All at once."""
        return bias_amplification(self.resampled_counts(rows, groups, indices), self.truth[groups.unique()])

    def group_values(self, rows: Tensor, groups: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Each group's own bias amplification; all weigh the same."""
        counts, truth = self.counts(rows, groups), self.truth[groups.unique()]
        values = torch.stack([bias_amplification(c[None], t[None]) for c, t in zip(counts, truth, strict=True)])
        names = smallest_keys(groups, keys)
        order = torch.stack([names[groups == g][0] for g in groups.unique()]).argsort()
        return values[order], torch.ones_like(values)
