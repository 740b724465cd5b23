"""The base of all metrics: a ``torchmetrics`` metric that keeps one row an image, to give an interval as well.

A metric only accumulates; the maths is in `hspace_exp.evaluation.functional`. Rows are keyed: neither batches, order
nor an image that comes twice change a result.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from hspace_exp.errors import UserError
from hspace_exp.evaluation.functional.bootstrap import group_bootstrap, interval, resample_blocks
from hspace_exp.evaluation.functional.fairness import group_means
from hspace_exp.evaluation.judged import JudgedBatch, item_keys
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.io.seeding import generator

DECIMALS = 6
# Fewer professions than this say nothing about others.
FEWEST_GROUPS = 5


@dataclass(frozen=True)
class Setting:
    """What a metric is told before it sees images."""

    values: tuple[str, ...] = ()  # of the attribute, in class order
    professions: tuple[str, ...] = ()  # names of the groups, by number
    # (G, C) float64 P(value | profession) in the data, NaN where unknown; None where nothing is known
    truth: Tensor | None = None
    features: str = ""  # name of the features that distances between sets of images are of
    device: str | torch.device = "cpu"  # where sums over all pairs of images are worked out
    repeats: int = 1000  # bootstrap resamples; 0 leaves intervals out
    seed: int = 0  # varies the resampling; equal images and seed give equal intervals
    judge: str = ""  # in whose eyes
    part: str = ""  # the attribute of a composition that it is of; "" for all of it

    def __post_init__(self) -> None:
        """Check the number of resamples."""
        if self.repeats < 0 or self.repeats == 1:
            raise UserError(f"expected 0 or at least 2 bootstrap resamples, got {self.repeats}")


class ImageMetric(Metric):
    """Base: rows of numbers, one an image, and a statistic of them.

    A subclass says what it is by class attributes, what it takes of a batch by ``observe``, and its number by
    ``statistic``; for a mean of one number an image derive from `RowMean` and write ``observe`` alone.
    """

    full_state_update = False
    is_differentiable = False
    heading: ClassVar[str] = ""  # above its column in tables; "" for a heading made of its name
    digits: ClassVar[int] = 3  # after the point in tables
    # least and greatest possible value; intervals are cut there
    bounds: ClassVar[tuple[float | None, float | None]] = (None, None)
    # names of ``hspace_exp.evaluation.judged.OPTIONAL``: where one of them is not known, the metric is left out
    needs: ClassVar[tuple[str, ...]] = ()
    by_profession: ClassVar[bool] = False  # whether the rows of professions hold it too
    of_each_judge: ClassVar[bool] = False  # whether it is also given by the second judge, whose name is the suffix
    of_each_part: ClassVar[bool] = False  # whether it is also given of each attribute that a composition asks for
    # whether resamples keep the size of each group, for statistics that are averaged over groups
    stratified: ClassVar[bool] = False
    fewest: ClassVar[int] = 1  # images that give a value
    keys: list[Tensor]
    rows: list[Tensor]
    groups: list[Tensor]

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.setting = Setting()
        for name in ("keys", "rows", "groups"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def prepared(self, setting: Setting) -> Self:
        """An empty metric of the same kind for images of this setting."""
        own = copy.copy(self)
        own.keys, own.rows, own.groups = [], [], []
        own.setting = setting
        return own

    def observe(self, batch: JudgedBatch) -> Tensor | None:
        """(B, K) or (B,) numbers of the images of a batch; NaN where an image does not count; None where none does."""
        raise NotImplementedError

    def update(self, batch: JudgedBatch) -> None:
        """Add the images of a batch."""
        rows = self.observe(batch)
        if rows is not None:
            self.add(batch.keys, rows, batch.groups)

    def add(self, keys: Tensor, rows: Tensor, groups: Tensor | None = None) -> None:
        """Remember (B, K) or (B,) rows of the images with (B,) int64 keys and groups; rows with NaN do not count."""
        rows = rows.detach().to(self.device, torch.float64)
        rows = rows[:, None] if rows.ndim == 1 else rows
        groups = torch.zeros_like(keys) if groups is None else groups
        counts = ~rows.isnan().any(1)
        if counts.any():
            self.keys.append(keys.to(self.device)[counts])
            self.rows.append(rows[counts])
            self.groups.append(groups.to(self.device, torch.int64)[counts])

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """The value of (N, K) float64 rows and (N,) int64 groups; scalar."""
        return self.statistics(rows, groups, torch.arange(len(rows), device=rows.device)[None])[0]

    def compute(self) -> Tensor:
        """The value of all images seen; NaN where there are too few."""
        rows, groups, _, _ = self._table()
        return self.statistic(rows, groups) if len(rows) >= self.fewest else rows.new_tensor(torch.nan)

    def result(self) -> MetricValue:
        """The value with its 95 % interval and the number of images."""
        rows, groups, strata, keys = self._table()
        if len(rows) < self.fewest:
            note = f"needs at least {self.fewest} images" if self.fewest > 1 else "no image qualifies"
            return self.told(None, None, None, len(rows), note)
        value, repeats, seed = float(self.statistic(rows, groups)), self.setting.repeats, self.setting.seed
        low, high = None, None
        name = hashlib.sha256(keys.cpu().numpy().tobytes()).hexdigest()
        if repeats:
            random = generator("bootstrap", seed, name)
            low, high = interval(value, self.replicates(rows, groups, strata, random))
        found = self.present(value, low, high, len(rows), self.note(rows, groups))
        values, weights = self.group_values(rows, groups, keys)
        if not repeats or len(values) < FEWEST_GROUPS:
            return found
        random = generator("bootstrap over groups", seed, name)
        low, high = interval(value, group_bootstrap(values, weights, repeats, random))
        return replace(found, ci_low_professions=self.tidy(low), ci_high_professions=self.tidy(high))

    def replicates(self, rows: Tensor, groups: Tensor, strata: Tensor, random: torch.Generator) -> Tensor:
        """(repeats,) values of the statistic on resampled images."""
        blocks = resample_blocks(strata, self.setting.repeats, random)
        return torch.cat([self.statistics(rows, groups, indices) for indices in blocks])

    def statistics(self, rows: Tensor, groups: Tensor, indices: Tensor) -> Tensor:
        """(R,) values of the statistic on the images of each row of (R, N) indices; write this one or ``statistic``.

        Stratified resamples take each image from its own group, so that there row i is of the group ``groups[i]``.
        """
        return torch.stack([self.statistic(rows[i], groups[i]) for i in indices])

    def group_values(self, rows: Tensor, groups: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Value and weight of each group, (G,) each, where the statistic is their weighted mean; else nothing.

        In the order of the groups' smallest keys, so that renumbering groups changes nothing.
        """
        return rows.new_zeros(0), rows.new_zeros(0)

    def present(self, value: float, low: float | None, high: float | None, n: int, note: str) -> MetricValue:
        """Round and cut to ``bounds``."""
        return self.told(self.tidy(value), self.tidy(low), self.tidy(high), n, note)

    def told(self, value: float | None, low: float | None, high: float | None, n: int, note: str) -> MetricValue:
        """The number as a record holds it."""
        return MetricValue(value, low, high, n, self.higher_is_better, note, heading=self.heading, digits=self.digits)

    def tidy(self, number: float | None) -> float | None:
        """Round and cut one number; None where there is none or it is undefined."""
        if number is None or not math.isfinite(number):
            return None
        least, most = self.bounds
        number = number if least is None else max(number, least)
        return round(number if most is None else min(number, most), DECIMALS)

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """What a reader of the value must know; "" for nothing."""
        return ""

    def by_group(self) -> Iterator[tuple[int, float | None]]:
        """Group number and value of each group that has enough images."""
        rows, groups, _, _ = self._table()
        for group in groups.unique().tolist():
            some = groups == group
            if int(some.sum()) >= self.fewest:
                value = float(self.statistic(rows[some], groups[some]))
                yield group, self.present(value, None, None, int(some.sum()), "").value

    def by_image(self) -> dict[int, float] | None:
        """Each image's own number, by key, for ``judged.csv``; None where images have none."""
        return None

    def _table(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rows, groups, strata and keys of the images, each image once, in an order that only the keys decide."""
        if len(self.keys) == 0:
            empty = torch.zeros(0, dtype=torch.int64, device=self.device)
            return torch.zeros(0, 1, dtype=torch.float64, device=self.device), empty, empty, empty
        keys, order = dim_zero_cat(self.keys).sort(stable=True)
        first = torch.ones_like(keys, dtype=torch.bool)
        first[1:] = keys[1:] != keys[:-1]
        keys, order = keys[first], order[first]
        rows, groups = dim_zero_cat(self.rows)[order], dim_zero_cat(self.groups)[order]
        if not self.stratified:
            return rows, groups, torch.zeros_like(groups), keys
        strata = smallest_keys(groups, keys)
        order = strata.sort(stable=True).indices
        return rows[order], groups[order], strata[order], keys[order]


class RowMean(ImageMetric):
    """Base of means of one number an image."""

    def statistics(self, rows: Tensor, groups: Tensor, indices: Tensor) -> Tensor:
        """The means."""
        return rows[:, 0][indices].mean(1)

    def group_values(self, rows: Tensor, groups: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Each group's mean, weighted by its images."""
        _, member, sizes = smallest_keys(groups, keys).unique(return_inverse=True, return_counts=True)
        return group_means(rows[:, 0], member), sizes.double()

    def by_image(self) -> dict[int, float] | None:
        """Each image's own number, by key."""
        rows, _, _, keys = self._table()
        return dict(zip(keys.tolist(), rows[:, 0].tolist(), strict=True))


class Share(RowMean):
    """Base of shares of images."""

    higher_is_better: bool | None = True
    bounds = (0.0, 1.0)


def share_of(names: Sequence[str], values: Tensor, heading: str, setting: Setting) -> MetricValue:
    """The mean of (N,) values in [0, 1] of things with these names, more is better, with its interval."""
    metric = Share().prepared(setting)
    metric.add(item_keys(names), values)
    return replace(metric.result(), heading=heading)


def where(condition: Tensor, values: Tensor) -> Tensor:
    """(B,) float64 values of images that meet the condition; NaN (does not count) elsewhere."""
    return torch.where(condition, values.double(), torch.nan)


def smallest_keys(groups: Tensor, keys: Tensor) -> Tensor:
    """(N,) smallest key of each image's group: a name for groups that renumbering them does not change."""
    _, member = groups.unique(return_inverse=True)
    smallest = torch.full((int(member.max()) + 1,), torch.iinfo(torch.int64).max, device=groups.device)
    return smallest.scatter_reduce(0, member, keys, "amin")[member]
