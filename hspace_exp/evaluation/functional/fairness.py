"""How evenly, and how obediently, images present an attribute. Classes are presentations, never facts about people."""

from __future__ import annotations

import torch
from torch import Tensor

from hspace_exp.errors import UserError


def class_counts(classes: Tensor, groups: Tensor, num_groups: int, num_classes: int) -> Tensor:
    """How many images of each group show each class.

    Args:
        classes: (N,) class of each image, 0 … num_classes - 1.
        groups: (N,) group (profession) of each image, 0 … num_groups - 1.
        num_groups: G.
        num_classes: C.

    Returns:
        (G, C) int64.
    """
    return torch.bincount(groups * num_classes + classes, minlength=num_groups * num_classes).view(
        num_groups, num_classes
    )


def deviation_ratio(counts: Tensor) -> Tensor:
    """Deviation from an even distribution: DR = max_c |N_c / N - 1/C| / (1 - 1/C).

    The deviation ratio by which Li et al., "Self-discovering interpretable diffusion latent directions for responsible
    text-to-image generation" (CVPR 2024), measure imbalance.

    Args:
        counts: (..., C) images of each class, C >= 2, at least one image in each row.

    Returns:
        (...) float64 in [0, 1]; 0 when all classes are even, 1 when one class has all images.
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
    class that the data over-represents (more than 1/C), summed over those classes, averaged over professions.

    Args:
        counts: (..., G, C) images of each profession that show each class, at least one in each row.
        truth: (G, C) probabilities in the data; rows sum to one.

    Returns:
        (...) float64 in [-1, 1]: 0 repeats the data, positive exaggerates its majorities, negative evens them out.
        For two classes and a perfectly even model it is the mean of 1/2 - max(p, 1 - p).
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
    return ((counts / total.double() - truth) * majority).sum(-1).mean(-1)
