"""Metrics of single images: shares and alignment."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from hspace_exp.evaluation.functional.alignment import clip_alignment
from hspace_exp.evaluation.functional.fairness import group_means
from hspace_exp.evaluation.image_metric import ImageMetric, Resampling, smallest_keys


class RowMean(ImageMetric):
    """Base of means of one number an image."""

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """The mean."""
        return rows[:, 0].mean()

    def statistics(self, rows: Tensor, groups: Tensor, indices: Tensor) -> Tensor:
        """All means at once."""
        return rows[:, 0][indices].mean(1)

    def group_values(self, rows: Tensor, groups: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Each group's mean, weighted by its images."""
        _, member, sizes = smallest_keys(groups, keys).unique(return_inverse=True, return_counts=True)
        return group_means(rows[:, 0], member), sizes.double()

    def items(self) -> dict[int, float]:
        """Each image's own number, by key."""
        rows, _, _, keys = self._table()
        return dict(zip(keys.tolist(), rows[:, 0].tolist(), strict=True))


class Share(RowMean):
    """Share of images for which something wanted holds."""

    higher_is_better = True
    bounds = (0.0, 1.0)

    def update(self, keys: Tensor, values: Tensor, groups: Tensor | None = None) -> None:
        """Add (B,) values, bool or in [0, 1]."""
        self.add(keys, values, groups)


class UnwantedShare(Share):
    """Share of images for which something unwanted holds."""

    higher_is_better = False


class WorstGroupShare(Share):
    """The least share of any group, e.g. the success of the profession that fails most."""

    def __init__(self, group_names: tuple[str, ...], **options: Unpack[Resampling]) -> None:
        """Name the groups, so that the note can say which is worst."""
        super().__init__(stratified=True, **options)
        self.group_names = group_names

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """The least of the groups' means."""
        return group_means(rows[:, 0], groups).min()

    def statistics(self, rows: Tensor, groups: Tensor, indices: Tensor) -> Tensor:
        """All at once; resamples keep the groups' sizes."""
        _, member, sizes = groups.unique(return_inverse=True, return_counts=True)
        sums = rows.new_zeros(len(indices), len(sizes))
        sums.scatter_add_(1, member.expand_as(indices), rows[:, 0][indices])
        return (sums / sizes).amin(1)

    def group_values(self, rows: Tensor, groups: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Nothing: a least value is no mean."""
        return rows.new_zeros(0), rows.new_zeros(0)

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """Which group it is."""
        means, names = group_means(rows[:, 0], groups), [self.group_names[g] for g in groups.unique().tolist()]
        return "worst: " + ", ".join(sorted(n for n, m in zip(names, means.tolist(), strict=True) if m == means.min()))


class ClipAlignment(RowMean):
    """100 times the cosine of each image and its text."""

    higher_is_better = True
    bounds = (-100.0, 100.0)

    def update(self, keys: Tensor, image_features: Tensor, text_features: Tensor, groups: Tensor | None = None) -> None:
        """Add (B, D) features of images and of their texts."""
        self.add(keys, clip_alignment(image_features, text_features), groups)
