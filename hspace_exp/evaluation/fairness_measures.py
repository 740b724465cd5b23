"""Measures of how evenly, and how obediently, images present an attribute in the eyes of a judge.

A judge's class is negative where it is unclear: such an image meets no request and counts in no share of classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from hspace_exp.evaluation.class_metrics import (
    BiasAmplification,
    CorrectedDeviationRatio,
    DeviationRatio,
    ParityGap,
    TotalVariation,
)
from hspace_exp.evaluation.functional.parity import intersect
from hspace_exp.evaluation.image_metric import Resampling
from hspace_exp.evaluation.measure import Measure, Observe
from hspace_exp.evaluation.metrics import Share, UnwantedShare, WorstGroupShare
from hspace_exp.evaluation.seen import NO_TARGET, Seen


def fairness_measures(
    judge: str,
    attribute: str,
    professions: tuple[str, ...],
    num_classes: int,
    suffix: str,
    **options: Unpack[Resampling],
) -> dict[str, Measure]:
    """Deviation ratio, success, the worst profession's success, and flips, in the eyes of one judge."""

    def hits(seen: Seen) -> tuple[Tensor, ...]:
        asked = seen.targets != NO_TARGET
        hit = seen.after[judge][attribute] == seen.targets
        return seen.keys[asked], hit[asked], seen.groups[asked]

    def flips(seen: Seen) -> tuple[Tensor, ...]:
        before = seen.before[judge][attribute]
        other = (seen.targets != NO_TARGET) & (before != seen.targets) & (before >= 0)
        hit = seen.after[judge][attribute] == seen.targets
        return seen.keys[other], hit[other], seen.groups[other]

    return {
        f"deviation_ratio{suffix}": Measure(
            DeviationRatio(num_classes, **options), _classes_after(judge, attribute), True
        ),
        f"success{suffix}": Measure(Share(stratified=True, **options), hits, True),
        f"success_worst{suffix}": Measure(WorstGroupShare(professions, **options), hits),
        f"flipped{suffix}": Measure(Share(**options), flips, True),
    }


def parity_measures(judge: str, attribute: str, num_classes: int, **options: Unpack[Resampling]) -> dict[str, Measure]:
    """Two other readings of the same counts: total variation and parity gap."""
    observe = _classes_after(judge, attribute)
    return {
        "total_variation": Measure(TotalVariation(num_classes, **options), observe),
        "parity_gap": Measure(ParityGap(num_classes, **options), observe),
    }


def intersection_measure(
    judge: str, attributes: Sequence[str], sizes: tuple[int, ...], **options: Unpack[Resampling]
) -> Measure:
    """Deviation ratio over all combinations of several attributes' classes, e.g. gender and skin tone."""

    def classes(seen: Seen) -> tuple[Tensor, ...]:
        after = torch.stack([seen.after[judge][name] for name in attributes])
        return seen.keys, intersect(after, sizes), seen.groups

    return Measure(DeviationRatio(math.prod(sizes), **options), classes, True)


def corrected_measure(judge: str, attribute: str, metric: CorrectedDeviationRatio) -> Measure:
    """Deviation ratio corrected by the judge's (C, C) confusion matrix, which may be filled in later."""
    return Measure(metric, _classes_after(judge, attribute), True)


def bias_measure(judge: str, attribute: str, truth: Tensor, **options: Unpack[Resampling]) -> Measure:
    """Bias amplification over the professions whose row of ``truth`` (G, C) is known (not NaN)."""
    known = ~truth.isnan().any(1)

    def classes(seen: Seen) -> tuple[Tensor, ...]:
        rows = known[seen.groups]
        return seen.keys[rows], seen.after[judge][attribute][rows], seen.groups[rows]

    return Measure(BiasAmplification(truth, **options), classes, True)


def unclear_measure(judge: str, attribute: str, **options: Unpack[Resampling]) -> Measure:
    """Share of edited images in which the judge sees no class clearly."""
    return Measure(
        UnwantedShare(**options), lambda seen: (seen.keys, seen.after[judge][attribute] < 0, seen.groups), True
    )


def agreement_measure(judge: str, other: str, attribute: str, **options: Unpack[Resampling]) -> Measure:
    """Share of edited images, clear to both judges, on which they agree."""

    def same(seen: Seen) -> tuple[Tensor, ...]:
        a, b = seen.after[judge][attribute], seen.after[other][attribute]
        clear = (a >= 0) & (b >= 0)
        return seen.keys[clear], (a == b)[clear], seen.groups[clear]

    return Measure(Share(**options), same)


def _classes_after(judge: str, attribute: str) -> Observe:
    return lambda seen: (seen.keys, seen.after[judge][attribute], seen.groups)
