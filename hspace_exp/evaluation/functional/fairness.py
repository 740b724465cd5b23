"""How evenly, and how obediently, images present an attribute. Classes are presentations, never facts about people."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.stats import poisson
from torch import Tensor

from hspace_exp.errors import UserError


def deviation_ratio(counts: Tensor) -> Tensor:
    """Deviation from an even distribution: DR = max_c |N_c / N - 1/C| / (1 - 1/C).

    The deviation ratio by which Li et al., "Self-discovering interpretable diffusion latent directions for responsible
    text-to-image generation" (CVPR 2024), measure imbalance. Of (..., C) images of each class, C >= 2, at least one
    in each row; (...) float64 in [0, 1], 0 when all classes are even, 1 when one class has all images.
    """
    classes = counts.shape[-1]
    if classes < 2:
        raise UserError(f"a deviation ratio needs at least 2 classes, got {classes}")
    total = counts.sum(-1, keepdim=True)
    if bool((total == 0).any()):
        raise UserError("a deviation ratio needs at least one image in each group, got an empty group")
    return (counts / total.double() - 1 / classes).abs().amax(-1) / (1 - 1 / classes)


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
    if counts.shape[-2:] != truth.shape:
        raise UserError(f"expected truth of shape {tuple(counts.shape[-2:])}, got {tuple(truth.shape)}")
    truth = truth.double()
    if not torch.allclose(truth.sum(-1), torch.ones((), dtype=torch.float64, device=truth.device), atol=1e-6):
        raise UserError("expected probabilities that sum to one in each row of the truth table")
    total = counts.sum(-1, keepdim=True)
    if bool((total == 0).any()):
        raise UserError("bias amplification needs at least one image in each group, got an empty group")
    majority = truth > 1 / counts.shape[-1]
    return ((counts / total.double() - truth) * majority).sum(-1)


def intersect(classes: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Number combinations of (K, N) classes of N images for K attributes, e.g. of gender and skin tone.

    ``sizes`` are the attributes' numbers of classes. Gives (N,) int64 in 0 … Π sizes - 1, in which the last attribute
    varies fastest; -1 where any attribute has class -1 (unclear).
    """
    if len(classes) != len(sizes) or not sizes:
        raise UserError(f"expected classes of {len(sizes)} attributes, got {len(classes)}")
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
    if images < 1 or classes < 2:
        raise UserError(f"a noise floor needs at least 1 image and 2 classes, got {images} and {classes}")
    counts, mean = np.arange(images + 1), images / classes
    probabilities, total = poisson.pmf(counts, mean), poisson.pmf(images, images)
    distances = np.abs(counts - mean)
    # Integer counts put every distance a whole number above one of two offsets; equal ones differ by rounding alone.
    # Further than ten standard deviations from the mean is no count.
    levels = np.unique(np.round(distances[distances < 10 * mean**0.5 + 2], 9))
    inside = [_all_within(probabilities, distances <= level + 1e-6, classes, images) / total for level in levels]
    return float(levels @ np.diff(inside, prepend=0.0)) / images / (1 - 1 / classes)


def _all_within(probabilities: np.ndarray, inside: np.ndarray, classes: int, images: int) -> float:
    """Probability that ``classes`` Poisson counts all lie ``inside`` and sum to ``images``."""
    first = int(np.argmax(inside))
    window = probabilities[first : first + int(inside.sum())]
    product = np.ones(1)
    for _ in range(classes):
        product = np.convolve(product, window)
    index = images - classes * first
    return float(product[index]) if 0 <= index < len(product) else 0.0
