"""95 % intervals by resampling images."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

LEVEL = 0.95
FEW = 100
# Numbers that are gathered at once: many enough to keep a device busy, few enough for any memory.
BLOCK = 2**22


def resample_blocks(strata: Tensor, repeats: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Draw images with replacement, as many from each stratum as it has. Blocks of any size hold the same draws.

    Of the (N,) stratum of each image, in non-decreasing order; all zeros resamples over everything. The generator is
    the CPU's. Yields (R, N) int64 indices, one resample a row.
    """
    _, position, sizes = torch.unique_consecutive(strata, return_inverse=True, return_counts=True)
    size, first = sizes[position], (sizes.cumsum(0) - sizes)[position]
    at_once = max(1, BLOCK // max(1, len(strata)))
    for start in range(0, repeats, at_once):
        shape = min(at_once, repeats - start), len(strata)
        draw = torch.rand(shape, generator=generator, dtype=torch.float64).to(strata.device)
        yield first + (draw * size).long().clamp(max=size - 1)


def resample_counts(indices: Tensor) -> Tensor:
    """How often each resample (row) of (R, N) indices holds each of N images; (R, N) float64."""
    counts = torch.zeros(indices.shape, dtype=torch.float64, device=indices.device)
    return counts.scatter_add_(1, indices, torch.ones_like(counts))


def interval(value: float, replicates: Tensor) -> tuple[float, float]:
    """95 % interval, lower <= value <= upper, from (R,) bootstrap replicates of the same statistic, R >= 2.

    The percentile interval (Efron & Tibshirani, 1993, chapter 13), shifted by the bootstrap's estimate of bias
    (chapter 10), the mean of the replicates minus the value. For means the shift is nil but for chance. Deviation
    ratios and Fréchet distances are never negative, so resampling alone inflates them: without the shift the interval
    of an even distribution, DR = 0, would not contain 0. Fewer than 100 replicates say too little about tails: they
    give the normal interval ± 1.96 standard deviations.
    """
    replicates = replicates.double()
    if len(replicates) < FEW:
        reach = 1.959964 * float(replicates.std())
        return value - reach, value + reach
    levels = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64, device=replicates.device)
    low, high = (torch.quantile(replicates, levels) - replicates.mean() + value).tolist()
    return min(low, value), max(high, value)


def group_bootstrap(values: Tensor, weights: Tensor, repeats: int, generator: torch.Generator) -> Tensor:
    """Replicates of a weighted mean over groups when whole groups are drawn with replacement.

    It answers how a number would move with other professions, where `resample_blocks` answers for other images
    of the same ones. Images within a group stay as they are: they vary less than groups do.
    Takes (G,) statistics and (G,) weights of groups, e.g. their numbers of images; gives (repeats,) float64.
    """
    one_stratum = torch.zeros(len(values), dtype=torch.int64, device=values.device)
    picked = torch.cat(list(resample_blocks(one_stratum, repeats, generator)))
    chosen = weights.double()[picked]
    return (values.double()[picked] * chosen).sum(1) / chosen.sum(1)
