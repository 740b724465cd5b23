"""Metrics of single images: shares, alignment, and how evenly professions present an attribute."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from hspace_exp.evaluation.functional.alignment import clip_alignment
from hspace_exp.evaluation.functional.fairness import bias_amplification, class_counts, deviation_ratio, group_means
from hspace_exp.evaluation.image_metric import ImageMetric, Resampling


class RowMean(ImageMetric):
    """Base of means of one number an image."""

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """The mean."""
        return rows[:, 0].mean()


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

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """Which group it is."""
        means, names = group_means(rows[:, 0], groups), [self.group_names[g] for g in groups.unique().tolist()]
        return "worst: " + ", ".join(sorted(n for n, m in zip(names, means.tolist(), strict=True) if m == means.min()))


class DeviationRatio(ImageMetric):
    """Deviation ratio of each group's classes, averaged over groups; see ``functional.fairness``."""

    higher_is_better = False
    bounds = (0.0, 1.0)

    def __init__(self, num_classes: int, **options: Unpack[Resampling]) -> None:
        """Say how many classes the attribute has."""
        super().__init__(stratified=True, **options)
        self.num_classes = num_classes

    def update(self, keys: Tensor, classes: Tensor, groups: Tensor) -> None:
        """Add (B,) classes of the images of (B,) groups."""
        self.add(keys, classes, groups)

    def counts(self, rows: Tensor, groups: Tensor) -> Tensor:
        """(G', C) images of each group that occurs and each class."""
        present, member = groups.unique(return_inverse=True)
        return class_counts(rows[:, 0].long(), member, len(present), self.num_classes)

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """Mean over groups."""
        return deviation_ratio(self.counts(rows, groups)).mean()

    def group_counts(self) -> dict[int, list[int]]:
        """Images of each class, for each group number."""
        rows, groups, _, _ = self._table()
        return dict(zip(groups.unique().tolist(), self.counts(rows, groups).tolist(), strict=True))


class BiasAmplification(DeviationRatio):
    """Change towards the majority of the data; see ``functional.fairness``."""

    higher_is_better = False
    bounds = (-1.0, 1.0)
    truth: Tensor

    def __init__(self, truth: Tensor, **options: Unpack[Resampling]) -> None:
        """Take the (G, C) probabilities of the data."""
        super().__init__(truth.shape[1], **options)
        self.register_buffer("truth", truth.double(), persistent=False)

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """Mean over groups."""
        return bias_amplification(self.counts(rows, groups), self.truth[groups.unique()])


class ClipAlignment(RowMean):
    """100 times the cosine of each image and its text."""

    higher_is_better = True
    bounds = (-100.0, 100.0)

    def update(self, keys: Tensor, image_features: Tensor, text_features: Tensor, groups: Tensor | None = None) -> None:
        """Add (B, D) features of images and of their texts."""
        self.add(keys, clip_alignment(image_features, text_features), groups)
