"""SDID: the vector that explains images of the attribute under the neutral prompt (Li et al., CVPR 2024)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hspace_exp.methods.learning import Noisy, Objective, denoising_loss
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit


@dataclass(frozen=True)
class Denoising(Objective):
    """E ||target - unet(z_t, t, neutral; h + v)||^2 over noised images x+ of the attribute.

    Implements eq. (3) of Li et al., "Self-Discovering Interpretable Diffusion Latent Directions" (CVPR 2024). At
    inference s * v is added to the conditional half of guidance, see ``AddedVector``.
    """

    def __call__(self, backbone: Backbone, vectors: Tensor, batch: Noisy) -> Tensor:
        """Losses (B,)."""
        return denoising_loss(batch.predict(backbone, HEdit(vector=vectors)), batch.training_target())
