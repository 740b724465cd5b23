"""A training batch in parts, so that memory does not grow with the number of concepts; losses and gradients stay."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hspace_exp.methods.learning import Noisy
from hspace_exp.models.backbone import Backbone

_WITHOUT_GRADIENT, _OF_A_SMALL_UNET_ON_A_GPU = 64, 512


def rows_without_gradient(backbone: Backbone) -> int:
    """Rows of a pass that keeps no activations; where those of a training step are bounded, twice as many as these."""
    most = backbone.rows_at_once
    many = backbone.small and backbone.device.type != "cpu"
    usual = _OF_A_SMALL_UNET_ON_A_GPU if many else _WITHOUT_GRADIENT
    return usual if most is None else min(usual, 2 * most)


def losses_of(
    objective: Callable[[Backbone, Tensor, Noisy], Tensor], backbone: Backbone, vectors: Tensor, batch: Noisy
) -> Tensor:
    """Losses (B,) of a batch, of which at most ``backbone.rows_at_once`` rows are in memory at a time.

    A row's loss depends on that row's vector alone. So each part's gradient is taken as soon as its losses are there,
    its activations are freed, and the gradient is handed on when the whole is differentiated.

    Args:
        objective: gives one loss a row.
        backbone: the frozen model.
        vectors: (B, ...), one a row; gradients flow to them.
        batch: of B rows.
    """
    rows, most = len(vectors), backbone.rows_at_once
    if most is None or rows <= most or not (torch.is_grad_enabled() and vectors.requires_grad):
        return objective(backbone, vectors, batch)
    losses, gradients = [], []
    for start in range(0, rows, most):
        part = slice(start, start + most)
        own = vectors[part].detach().requires_grad_()
        found = objective(backbone, own, batch.rows(part))
        gradients.append(torch.autograd.grad(found.sum(), own)[0])
        losses.append(found.detach())
    handed_on = torch.cat(gradients) * (vectors - vectors.detach())  # zero, with these gradients
    return torch.cat(losses) + handed_on.flatten(1).sum(1)
