"""RespoDiff: one vector brings the concept, a second one keeps the neutral score (Sreelatha et al., NeurIPS 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import NonNegativeFloat
from torch import Tensor

from hspace_exp.methods.learning import Noisy, Objective, denoising_loss
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit


@dataclass(frozen=True)
class ConceptAndNeutral(Objective):
    """||f(h + c) - g||^2 + lambda ||f(h + sg(c) + s) - f(h)||^2 at latents z_t of neutral runs.

    f is the U-Net's prediction under the neutral prompt, g the frozen model's guided one under the positive prompt
    (``on_policy.teacher_guidance``), sg stops the gradient.

    From the paper: both losses, lambda = 0.5, learning rate 1e-2, guidance 4 of g, z_t from partly denoising with the
    neutral prompt, c + s at inference. From the released code: f is not guided, c learns from the first loss only, and
    s learns more slowly than c, by a rate that its scripts set concept by concept (1e-2 to 1e-1; 1e-1 here). This
    matters: s = -c makes the second loss zero, so with equal rates the two would end by cancelling. Our reading: the
    optimisers of c and s step together (there c first), and z_t are states of whole guided runs of the neutral prompt
    without any vector, sampled as the images are (the released code samples them anew at guidance 3, vectors added).
    """

    weight: NonNegativeFloat = 0.5  # lambda; Adam does not notice it, as each loss trains a vector of its own
    # of learning s, as a share of that of c: s is trained as s / rate, which Adam turns into that share, as its steps
    # do not depend on the size of gradients
    rate: NonNegativeFloat = 0.1
    targets_from_model: ClassVar[bool] = True  # of c
    parts: ClassVar[int] = 2
    passes: ClassVar[tuple[int, int]] = (1, 2)

    def __call__(self, backbone: Backbone, vectors: Tensor, batch: Noisy) -> Tensor:
        """Losses (B,) of c and s / rate, (B, 2 C, H, W) or (B, 2 C, 1, 1)."""
        concept, neutral = vectors.chunk(2, dim=1)
        with torch.no_grad():
            kept = batch.predict(backbone, HEdit())
        guided = batch.model_target(backbone)
        brings = denoising_loss(batch.predict(backbone, HEdit(vector=concept)), guided)
        keeps = denoising_loss(batch.predict(backbone, HEdit(vector=concept.detach() + self.rate * neutral)), kept)
        return brings + self.weight * keeps

    def found(self, trained: Tensor) -> tuple[Tensor, dict[str, float]]:
        """The sum c + s, and the sizes of both."""
        concept, neutral = trained.chunk(2)[0], self.rate * trained.chunk(2)[1]
        sizes = {f"rms_{name}": part.square().mean().sqrt().item() for name, part in (("c", concept), ("s", neutral))}
        return concept + neutral, sizes
