"""Whether images of one set lie where those of another do, by nearest neighbours among features."""

from __future__ import annotations

import torch
from torch import Tensor

from hspace_exp.errors import UserError


def neighbour_radii(x: Tensor, neighbours: int) -> Tensor:
    """Distance of each of (N, D) features to its ``neighbours``-th nearest other one; (N,) float64."""
    if not 1 <= neighbours < len(x):
        raise UserError(f"{neighbours} nearest neighbours need at least {neighbours + 1} images, got {len(x)}")
    return _distances(x, x).kthvalue(neighbours + 1, dim=1).values


def inside(x: Tensor, reference: Tensor, neighbours: int = 3) -> Tensor:
    """Which of (N, D) features lie in the k-neighbourhood of at least one of (M, D) ``reference`` features.

    Implements eq. (1) of Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models"
    (NeurIPS 2019): the mean is their precision for generated x and real reference, their recall for the opposite.

    Returns:
        (N,) bool.
    """
    return (_distances(x, reference) <= neighbour_radii(reference, neighbours)).any(1)


def density(x: Tensor, reference: Tensor, neighbours: int = 5) -> Tensor:
    """In how many k-neighbourhoods of (M, D) ``reference`` features each of (N, D) features lies, divided by k.

    The mean is the density of Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models" (ICML
    2020), eq. (5); 1 is expected where both sets come from one distribution.

    Returns:
        (N,) float64, >= 0.
    """
    return (_distances(x, reference) < neighbour_radii(reference, neighbours)).double().sum(1) / neighbours


def covered(x: Tensor, reference: Tensor, neighbours: int = 5) -> Tensor:
    """Which of (M, D) ``reference`` features have at least one of (N, D) features in their k-neighbourhood.

    The mean is the coverage of Naeem et al. (ICML 2020), eq. (6).

    Returns:
        (M,) bool.
    """
    return _distances(reference, x).amin(1) < neighbour_radii(reference, neighbours)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    # Differences, not squares by matrix products: an image is at distance 0 from itself, exactly.
    return torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")
