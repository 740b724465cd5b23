"""How evenly, and how obediently, images present an attribute in the eyes of a judge.

A judge's class is negative where it is unclear: such an image meets no request and counts in no share of classes.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hspace_exp.evaluation.functional.fairness import (
    bias_amplification,
    deviation_ratio,
    deviation_ratio_floor,
    group_means,
    normalised_entropy,
    parity_gap,
)
from hspace_exp.evaluation.judged import NO_TARGET, JudgedBatch, known
from hspace_exp.evaluation.metrics.base import ImageMetric, Share, smallest_keys, where


class ClassBalance(ImageMetric):
    """Base: a number of each row of the table group × class, their mean over groups; upside down if all ask for one."""

    higher_is_better = False
    needs: ClassVar[tuple[str, ...]] = ("choices",)
    stratified = True
    by_profession = True

    def observe(self, batch: JudgedBatch) -> Tensor:
        """(B,) classes; unclear images do not count."""
        return where(batch.classes >= 0, batch.classes)

    def formula(self, counts: Tensor, groups: Tensor) -> Tensor:
        """(..., G, C) counts of the images of (G,) groups to (..., G) numbers."""
        raise NotImplementedError

    def by_groups(self, rows: Tensor, groups: Tensor, indices: Tensor) -> Tensor:
        """(R, G') numbers of the groups that occur, for each row of (R, N) indices; resamples keep groups' sizes."""
        present, member = groups.unique(return_inverse=True)
        shape = len(indices), len(present), len(self.setting.values)
        cells = member * shape[2] + rows[:, 0].long()[indices]
        cells += shape[1] * shape[2] * torch.arange(shape[0], device=cells.device)[:, None]
        return self.formula(torch.bincount(cells.flatten(), minlength=math.prod(shape)).view(shape), present)

    def statistics(self, rows: Tensor, groups: Tensor, indices: Tensor) -> Tensor:
        """Means over groups."""
        return self.by_groups(rows, groups, indices).mean(-1)

    def group_values(self, rows: Tensor, groups: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Each group's own number; all weigh the same."""
        present, names = groups.unique(), smallest_keys(groups, keys)
        order = torch.stack([names[groups == group][0] for group in present]).argsort()
        values = self.by_groups(rows, groups, torch.arange(len(rows), device=rows.device)[None])[0, order]
        return values, torch.ones_like(values)


class DeviationRatio(ClassBalance):
    """Deviation ratio of each profession's classes, averaged over professions; see ``functional.fairness``."""

    heading = "Deviation ratio"
    bounds = (0.0, 1.0)
    of_each_judge = True
    of_each_part = True

    def formula(self, counts: Tensor, groups: Tensor) -> Tensor:
        """The deviation ratio."""
        return deviation_ratio(counts)

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """What evenly drawn classes would score with as many images."""
        sizes = groups.unique(return_counts=True)[1].tolist()
        floor = sum(deviation_ratio_floor(size, len(self.setting.values)) for size in sizes) / len(sizes)
        return f"classes drawn evenly at random would give {floor:.3f}"


class ParityGap(DeviationRatio):
    """Mean deviation of each profession's shares from even ones, averaged over professions."""

    heading = "Parity gap"
    note = ImageMetric.note

    def formula(self, counts: Tensor, groups: Tensor) -> Tensor:
        """The parity gap."""
        return parity_gap(counts)


class NormalisedEntropy(ParityGap):
    """Entropy of each profession's shares by that of even ones, averaged over professions; 1 is even."""

    heading = "Normalised entropy"
    higher_is_better = True

    def formula(self, counts: Tensor, groups: Tensor) -> Tensor:
        """The normalised entropy."""
        return normalised_entropy(counts)


class BiasAmplification(ClassBalance):
    """Change towards the majority of the data, over professions of known truth; see ``functional.fairness``.

    No method is marked as best by it: far below zero is a reversed bias, not a better one.
    """

    heading = "Bias amplification"
    bounds = (-1.0, 1.0)
    needs = ("choices", "truth")

    def observe(self, batch: JudgedBatch) -> Tensor:
        """(B,) classes of professions of known truth."""
        there = ~known(self.setting.truth).isnan().any(1)[batch.groups]
        return where(there & (batch.classes >= 0), batch.classes)

    def formula(self, counts: Tensor, groups: Tensor) -> Tensor:
        """The bias amplification of each group."""
        return bias_amplification(counts, known(self.setting.truth)[groups])


class Success(Share):
    """Share of images that show what was asked for."""

    heading = "Success"
    stratified = True
    by_profession = True
    of_each_judge = True
    of_each_part = True

    def observe(self, batch: JudgedBatch) -> Tensor:
        """Whether each image shows its target."""
        return where(batch.targets != NO_TARGET, batch.classes == batch.targets)


class WorstSuccess(Success):
    """Success of the profession that fails most."""

    heading = "Worst success"
    by_profession = False
    # A least value is no mean of groups, and each image's number is that of `Success`.
    group_values = ImageMetric.group_values
    by_image = ImageMetric.by_image

    def statistics(self, rows: Tensor, groups: Tensor, indices: Tensor) -> Tensor:
        """The least of the groups' means; resamples keep the groups' sizes."""
        _, member, sizes = groups.unique(return_inverse=True, return_counts=True)
        sums = rows.new_zeros(len(indices), len(sizes))
        sums.scatter_add_(1, member.expand_as(indices), rows[:, 0][indices])
        return (sums / sizes).amin(1)

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """Which professions it is of."""
        means = group_means(rows[:, 0], groups)
        names = [self.setting.professions[group] for group in groups.unique()[means == means.min()].tolist()]
        return "worst: " + ", ".join(sorted(names))


class Flipped(Success):
    """Success among images whose unedited partner clearly shows another value than the one asked for."""

    heading = "Flipped"
    stratified = False
    needs = ("before",)

    def observe(self, batch: JudgedBatch) -> Tensor:
        """Whether each image shows its target now."""
        before = batch.before[batch.attribute]
        other = (batch.targets != NO_TARGET) & (before != batch.targets) & (before >= 0)
        return where(other, batch.classes == batch.targets)


class Unclear(Share):
    """Share of edited images in which the judge sees no class clearly; of judges with a margin."""

    heading = "Unclear"
    higher_is_better = False
    by_profession = True
    needs = ("margin",)

    def observe(self, batch: JudgedBatch) -> Tensor:
        """Whether each image is unclear."""
        return batch.classes < 0
