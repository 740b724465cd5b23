"""Whether images of one set lie where those of another do, by nearest neighbours among features."""

from __future__ import annotations

import torch
from torch import Tensor

from hspace_exp.errors import UserError


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances of (N, D) and (M, D) features; (N, M) float64.

    Taken from differences, not from matrix products: an image is at distance 0 from itself, exactly.
    """
    return torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")


def nearest(x: Tensor, neighbours: int) -> Tensor:
    """Distances of each of (N, D) features to its nearest other ones, nearest first; (N, ``neighbours``) float64."""
    if not 1 <= neighbours < len(x):
        raise UserError(f"{neighbours} nearest neighbours need at least {neighbours + 1} images, got {len(x)}")
    return distances(x, x).topk(neighbours + 1, dim=1, largest=False, sorted=True).values[:, 1:]


def neighbour_radii(x: Tensor, neighbours: int) -> Tensor:
    """Distance of each of (N, D) features to its ``neighbours``-th nearest other one; (N,) float64."""
    return nearest(x, neighbours)[:, -1]


def inside(x: Tensor, reference: Tensor, neighbours: int = 3) -> Tensor:
    """Which of (N, D) features lie in the k-neighbourhood of at least one of (M, D) ``reference`` features; (N,) bool.

    See ``inside_of``.
    """
    return inside_of(distances(x, reference), neighbour_radii(reference, neighbours))


def inside_of(between: Tensor, radii: Tensor) -> Tensor:
    """Which features lie in the k-neighbourhood of at least one reference feature.

    Implements eq. (1) of Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models"
    (NeurIPS 2019): the mean is their precision for generated features and a real reference, their recall for the
    opposite.

    Args:
        between: (N, M) distances of features and reference features.
        radii: (M,) distance of each reference feature to its k-th nearest other one.

    Returns:
        (N,) bool.
    """
    return (between <= radii).any(1)


def density(x: Tensor, reference: Tensor, neighbours: int = 5) -> Tensor:
    """In how many k-neighbourhoods of (M, D) ``reference`` features each of (N, D) features lies, over k; (N,) float64.

    See ``density_of``.
    """
    return density_of(distances(x, reference), neighbour_radii(reference, neighbours), neighbours)


def density_of(between: Tensor, radii: Tensor, neighbours: int) -> Tensor:
    """In how many k-neighbourhoods of reference features each feature lies, divided by k.

    The mean is the density of Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models" (ICML
    2020), eq. (5); 1 is expected where both sets come from one distribution. Arguments are those of ``inside_of``.

    Returns:
        (N,) float64, >= 0.
    """
    return (between < radii).double().sum(1) / neighbours


def covered(x: Tensor, reference: Tensor, neighbours: int = 5) -> Tensor:
    """Which of (M, D) ``reference`` features have at least one of (N, D) features in their k-neighbourhood; (M,) bool.

    See ``covered_of``.
    """
    return covered_of(distances(x, reference), neighbour_radii(reference, neighbours))


def covered_of(between: Tensor, radii: Tensor) -> Tensor:
    """Which reference features have at least one feature in their k-neighbourhood.

    The mean is the coverage of Naeem et al. (ICML 2020), eq. (6). Arguments are those of ``inside_of``.

    Returns:
        (M,) bool.
    """
    return between.amin(0) < radii
