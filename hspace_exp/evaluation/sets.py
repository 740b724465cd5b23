"""Distances between two sets of images that are not pairs, e.g. generated images and a reference set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.evaluation.features import ImageFeatures
from hspace_exp.evaluation.functional.bootstrap import interval
from hspace_exp.evaluation.functional.distribution import (
    frechet_distance,
    kernel_distance_of,
)
from hspace_exp.evaluation.metrics.base import DECIMALS
from hspace_exp.evaluation.metrics.distribution import FeatureDistance, FrechetDistance, KernelDistance
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.io.images import as_float, load_images
from hspace_exp.io.seeding import generator

REPEATS = 20
FEWEST = 6

Statistic = Callable[[Tensor, Tensor], Tensor]


def features_of(files: Sequence[Path], features: ImageFeatures, batch_size: int = 32) -> Tensor:
    """(N, D) features of image files."""
    batches = [files[start : start + batch_size] for start in range(0, len(files), batch_size)]
    return torch.cat([features(as_float(load_images(batch))).cpu() for batch in batches])


DISTANCES: dict[str, tuple[type[FeatureDistance], Statistic]] = {
    "fid": (FrechetDistance, frechet_distance),
    "kid": (KernelDistance, kernel_distance_of),
}


def set_distances(x: Tensor, y: Tensor, name: str, *, repeats: int = REPEATS, seed: int = 0) -> dict[str, MetricValue]:
    """Every distance of a set of images from a reference set.

    Intervals are normal ones from halves: each replicate takes a random half of either set without replacement, which,
    unlike drawing with replacement, makes no image its own neighbour; the spread of a half is √2 of the whole's when
    drawn anew, and equal to the whole's when drawn from it (Politis, Romano & Wolf, "Subsampling", 1999).

    Args:
        x: (N, D) features of the images.
        y: (M, D) features of the reference.
        name: of the features.
        repeats: halves drawn; 0 leaves intervals out.
        seed: varies them.

    Raises:
        UserError: fewer than six images in a set.
    """
    if min(len(x), len(y)) < FEWEST:
        raise UserError(f"sets of images need at least {FEWEST} each, got {len(x)} and a reference of {len(y)}")
    random, found = generator("sets", seed, len(x), len(y)), {}
    halves = [(_half(x, random), _half(y, random)) for _ in range(min(repeats, REPEATS))]
    enough = min(len(x), len(y)) >= 2 * FEWEST and len(halves) > 1
    for distance, (metric, statistic) in DISTANCES.items():
        value, low, high = float(statistic(x, y)), None, None
        if enough:
            spread = torch.stack([statistic(a, b) for a, b in halves])
            low, high = (round(bound, DECIMALS) for bound in interval(value, spread))
        note = f"{name} features, {len(x)} images against {len(y)} that are no pairs of them"
        found[distance] = MetricValue(
            round(value, DECIMALS),
            low,
            high,
            len(x),
            metric.higher_is_better,
            note,
            heading=metric.heading,
            digits=metric.digits,
        )
    return found


def _half(features: Tensor, random: torch.Generator) -> Tensor:
    return features[torch.randperm(len(features), generator=random)[: len(features) // 2]]
