"""The base of all metrics: a ``torchmetrics`` metric that remembers one row an image, to give an interval as well.

A metric only accumulates; the maths is in `hspace_exp.evaluation.functional`. Rows are keyed: neither batches, order,
devices nor an image that a distributed sampler repeats change a result.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TypedDict

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from hspace_exp.errors import UserError
from hspace_exp.evaluation.functional.bootstrap import group_bootstrap, interval, resample_blocks
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.io.seeding import generator, seed_of

DECIMALS = 6
# Fewer professions than this say nothing about others.
FEWEST_GROUPS = 5


def item_keys(names: list[str]) -> Tensor:
    """(N,) int64 keys of images from what makes them unique, e.g. profession, prompt, seed index and target."""
    return torch.tensor([seed_of(name) for name in names], dtype=torch.int64)


class Resampling(TypedDict, total=False):
    """Options of every metric: number of bootstrap resamples, and the seed that varies them."""

    repeats: int
    seed: int


class ImageMetric(Metric):
    """Base: rows of numbers, one an image, and a statistic of them.

    Attributes:
        bounds: least and greatest possible value; intervals are cut there.
        needs: fewest images that give a value.
        repeats: bootstrap resamples.
    """

    full_state_update = False
    is_differentiable = False
    bounds: tuple[float | None, float | None] = (None, None)
    needs = 1
    keys: list[Tensor]
    rows: list[Tensor]
    groups: list[Tensor]

    def __init__(self, *, repeats: int = 1000, seed: int = 0, stratified: bool = False) -> None:
        """Start empty.

        Args:
            repeats: bootstrap resamples; 0 leaves intervals out.
            seed: varies the resampling; equal images and seed give equal intervals.
            stratified: resample within groups, for statistics that are averaged over groups.
        """
        super().__init__()
        if repeats < 0 or repeats == 1:
            raise UserError(f"expected 0 or at least 2 bootstrap resamples, got {repeats}")
        self.repeats, self.seed, self.stratified = repeats, seed, stratified
        for name in ("keys", "rows", "groups"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def add(self, keys: Tensor, rows: Tensor, groups: Tensor | None = None) -> None:
        """Remember (B, K) or (B,) rows of the images with (B,) int64 keys, (B,) group numbers."""
        rows = rows.detach().to(self.device, torch.float64)
        rows = rows[:, None] if rows.ndim == 1 else rows
        groups = torch.zeros_like(keys) if groups is None else groups
        if not len(keys) == len(rows) == len(groups):
            raise UserError(f"expected one key, row and group an image, got {len(keys)}, {len(rows)}, {len(groups)}")
        if len(keys):
            self.keys.append(keys.to(self.device))
            self.rows.append(rows)
            self.groups.append(groups.to(self.device, torch.int64))

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """The value of (N, K) float64 rows and (N,) int64 groups; scalar."""
        raise NotImplementedError

    def compute(self) -> Tensor:
        """The value of all images seen; NaN where there are too few."""
        rows, groups, _, _ = self._table()
        return self.statistic(rows, groups) if len(rows) >= self.needs else rows.new_tensor(torch.nan)

    def result(self) -> MetricValue:
        """The value with its 95 % interval and the number of images."""
        rows, groups, strata, keys = self._table()
        if len(rows) < self.needs:
            note = f"needs at least {self.needs} images" if self.needs > 1 else "no image qualifies"
            return MetricValue(None, None, None, len(rows), self.higher_is_better, note)
        value = float(self.statistic(rows, groups))
        low, high = None, None
        name = hashlib.sha256(keys.cpu().numpy().tobytes()).hexdigest()
        if self.repeats:
            random = generator("bootstrap", self.seed, name)
            low, high = interval(value, self.replicates(rows, groups, strata, random))
        found = self.present(value, low, high, len(rows), self.note(rows, groups))
        values, weights = self.group_values(rows, groups, keys)
        if not self.repeats or len(values) < FEWEST_GROUPS:
            return found
        random = generator("bootstrap over groups", self.seed, name)
        low, high = interval(value, group_bootstrap(values, weights, self.repeats, random))
        return replace(found, ci_low_professions=self.tidy(low), ci_high_professions=self.tidy(high))

    def replicates(self, rows: Tensor, groups: Tensor, strata: Tensor, random: torch.Generator) -> Tensor:
        """(repeats,) values of the statistic on resampled images."""
        blocks = resample_blocks(strata, self.repeats, random)
        return torch.cat([self.statistics(rows, groups, indices) for indices in blocks])

    def statistics(self, rows: Tensor, groups: Tensor, indices: Tensor) -> Tensor:
        """(R,) values of the statistic on the images of each row of (R, N) indices.

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
        return MetricValue(self.tidy(value), self.tidy(low), self.tidy(high), n, self.higher_is_better, note)

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
            if int(some.sum()) >= self.needs:
                value = float(self.statistic(rows[some], groups[some]))
                yield group, self.present(value, None, None, int(some.sum()), "").value

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


def smallest_keys(groups: Tensor, keys: Tensor) -> Tensor:
    """(N,) smallest key of each image's group: a name for groups that renumbering them does not change."""
    _, member = groups.unique(return_inverse=True)
    smallest = torch.full((int(member.max()) + 1,), torch.iinfo(torch.int64).max, device=groups.device)
    return smallest.scatter_reduce(0, member, keys, "amin")[member]
