"""How evenly, and how obediently, images present an attribute. Classes are presentations, never facts about people."""

from __future__ import annotations

import math
from functools import lru_cache, reduce

import numpy as np
import torch
from scipy.stats import poisson
from torch import Tensor


def deviation_ratio(counts: Tensor) -> Tensor:
    """Deviation from an even distribution: DR = max_c |N_c / N - 1/C| / (1 - 1/C).

    The deviation ratio by which Li et al., "Self-discovering interpretable diffusion latent directions for responsible
    text-to-image generation" (CVPR 2024), measure imbalance. Of (..., C) images of each class, C >= 2, at least one
    in each row; (...) float64 in [0, 1], 0 when all classes are even, 1 when one class has all images.
    """
    even, total = 1 / counts.shape[-1], counts.sum(-1, keepdim=True)
    return (counts / total.double() - even).abs().amax(-1) / (1 - even)


def parity_gap(counts: Tensor) -> Tensor:
    """Mean deviation of the shares from even ones, 1/C sum_c |N_c / N - 1/C|; of two classes half of their ratio.

    The parity gap of Gaintseva et al., "EquiSteer" (ECCV 2026). Of counts as above; (...) float64 in [0, 2(C - 1)/C^2].
    """
    return (counts / counts.sum(-1, keepdim=True).double() - 1 / counts.shape[-1]).abs().mean(-1)


def normalised_entropy(counts: Tensor) -> Tensor:
    """Entropy of the shares by that of even ones: -sum_c p_c log p_c / log C, p_c = N_c / N, 0 log 0 = 0.

    As in arXiv 2508.16752 (2025), on fairness and utility. Of counts as above; (...) float64 in [0, 1], 1 is even.
    """
    shares = counts / counts.sum(-1, keepdim=True).double()
    return torch.special.entr(shares).sum(-1) / math.log(counts.shape[-1])


def group_means(values: Tensor, groups: Tensor) -> Tensor:
    """Mean of (N,) values in each group that occurs in (N,) ``groups``; (G',) float64 in the order of group numbers."""
    sizes = torch.bincount(groups)
    return torch.bincount(groups, weights=values.double())[sizes > 0] / sizes[sizes > 0]


def bias_amplification(counts: Tensor, truth: Tensor) -> Tensor:
    """How much further a model goes where its data already leans.

    Implements the mean bias amplification of Zhao et al., "Men also like shopping" (EMNLP 2017), with the
    world's known probabilities as the training distribution: for each profession the change of the share of every
    class that the data over-represents (more than 1/C), summed over those classes; the mean over professions is theirs.

    Of (..., G, C) images of each profession that show each class, at least one in each row, and (G, C) probabilities in
    the data, whose rows sum to one; (..., G) float64 in [-1, 1]: 0 repeats the data, positive exaggerates its
    majorities, negative evens them out. For two classes and a perfectly even model it is 1/2 - max(p, 1 - p).
    """
    truth, total = truth.double(), counts.sum(-1, keepdim=True)
    majority = truth > 1 / counts.shape[-1]
    return ((counts / total.double() - truth) * majority).sum(-1)


def intersect(classes: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Number combinations of (K, N) classes of N images for K attributes, e.g. of gender and skin tone.

    ``sizes`` are the attributes' numbers of classes. Gives (N,) int64 in 0 … Π sizes - 1, in which the last attribute
    varies fastest; -1 where any attribute has class -1 (unclear).
    """
    joint = torch.zeros_like(classes[0])
    for one, size in zip(classes, sizes, strict=True):
        joint = joint * size + one
    return torch.where((classes < 0).any(0), -1, joint)


def part_of(joint: Tensor, part: int, sizes: tuple[int, ...]) -> Tensor:
    """(N,) class of one attribute in (N,) combinations that `intersect` numbered; negative where these are."""
    return torch.where(joint < 0, joint, torch.unravel_index(joint.clamp(min=0), sizes)[part])


@lru_cache(maxsize=4096)
def deviation_ratio_floor(images: int, classes: int) -> float:
    """Expected deviation ratio of one group whose images each draw their class evenly and independently.

    Exact: E[max_c |N_c - N/C|] is the sum over thresholds t of P(max > t), and P(all N_c within t of N/C) is N! / C^N
    times the coefficient of x^N in (Σ_k x^k / k!)^C, k from N/C - t to N/C + t. Scaled by the Poisson distribution of
    mean N/C, all factors are probabilities. For two classes and large N it is about √(2 / πN). N is at least 1, C at
    least 2; the expectation is in (0, 1].
    """
    counts, mean = np.arange(images + 1), images / classes
    counts = counts[np.abs(counts - mean) < 10 * mean**0.5 + 2]  # further than ten standard deviations is no count
    probabilities, total = poisson.pmf(counts, mean), poisson.pmf(images, images)
    # Integer counts put every distance a whole number above one of two offsets; equal ones differ by rounding alone.
    distances = np.round(np.abs(counts - mean), 9)
    levels = np.unique(distances)
    windows = [np.where(distances <= level, probabilities, 0.0) for level in levels]
    sums = images - classes * counts[0]  # where the sum of all counts is ``images``
    inside = [reduce(np.convolve, [window] * classes)[sums] / total for window in windows]
    return float(levels @ np.diff(inside, prepend=0.0)) / images / (1 - 1 / classes)
