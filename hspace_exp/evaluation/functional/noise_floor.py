"""What a perfectly fair model would score: the deviation ratio of images whose class is drawn at random."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from hspace_exp.errors import UserError

TAIL = 1e-12


@lru_cache(maxsize=4096)
def deviation_ratio_floor(images: int, classes: int) -> float:
    """Expected deviation ratio of one group whose images each draw their class evenly and independently.

    Exact: E[max_c |N_c - N/C|] is the sum over thresholds t of P(max > t), and P(all N_c within t of N/C) is N! / C^N
    times the coefficient of x^N in (Σ_k x^k / k!)^C, k from N/C - t to N/C + t. Scaled by the Poisson distribution of
    mean N/C, all factors are probabilities. For two classes and large N it is about √(2 / πN).

    Args:
        images: N of the group, at least 1.
        classes: C, at least 2.

    Returns:
        the expectation, in (0, 1].
    """
    if images < 1 or classes < 2:
        raise UserError(f"a noise floor needs at least 1 image and 2 classes, got {images} and {classes}")
    mean = images / classes
    counts = np.arange(images + 1)
    logs = counts * math.log(mean) - mean - np.array([math.lgamma(k + 1) for k in counts])
    poisson = np.exp(logs)
    total = math.exp(images * math.log(images) - images - math.lgamma(images + 1))
    distances = np.abs(counts - mean)
    # Integer counts put every distance a whole number above one of two offsets; equal ones differ by rounding alone.
    levels = np.unique(np.round(distances, 9))
    expected, below = 0.0, 0.0
    for level in levels:
        inside = _all_within(poisson, distances <= level + 1e-6, classes, images) / total
        expected += level * max(inside - below, 0.0)
        below = max(below, inside)
        if below > 1 - TAIL:
            break
    return expected / images / (1 - 1 / classes)


def _all_within(poisson: np.ndarray, inside: np.ndarray, classes: int, images: int) -> float:
    """Probability that ``classes`` Poisson counts all lie ``inside`` and sum to ``images``."""
    first = int(np.argmax(inside))
    window = poisson[first : first + int(inside.sum())]
    product = np.ones(1)
    for _ in range(classes):
        product = np.convolve(product, window)
    index = images - classes * first
    return float(product[index]) if 0 <= index < len(product) else 0.0
