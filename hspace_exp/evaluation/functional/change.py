"""Where in an image an edit acts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hspace_exp.errors import UserError


def change_share(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Share of the difference of two images that lies inside a mask: Σ_mask |a - b| / Σ |a - b|.

    Args:
        a: (B, C, H, W) in [0, 1].
        b: (B, C, H, W) in [0, 1].
        mask: (B, 1, H, W) bool.

    Returns:
        (B,) float64 in [0, 1]; NaN where the images are equal. An edit without a place gives the mask's share of area.
    """
    difference = (a.double() - b.double()).abs()
    return (difference * mask).sum((1, 2, 3)) / difference.sum((1, 2, 3))


def cosine_matrix(vectors: Tensor) -> Tensor:
    """Cosines of (K, N) vectors with one another; (K, K) float64 in [-1, 1].

    Raises:
        UserError: a vector is zero, and so has no direction.
    """
    rows = vectors.double()
    if bool((rows.norm(dim=1) == 0).any()):
        raise UserError("a zero vector has no direction to compare")
    unit = F.normalize(rows, dim=1)
    return (unit @ unit.T).clamp(-1, 1)


def joint_share(hits: Tensor) -> tuple[Tensor, Tensor]:
    """Success of a composition.

    Args:
        hits: (N, K) bool, whether each of N images shows each of K things that were asked for at once.

    Returns:
        (K,) share of images that show each, and the scalar share that show all; float64. Where edits do not get in one
        another's way, the latter is about the product of the former.
    """
    if hits.ndim != 2 or not len(hits):
        raise UserError(f"expected (images, things asked for), got shape {tuple(hits.shape)}")
    shown = hits.double()
    return shown.mean(0), torch.prod(shown, 1).mean()
