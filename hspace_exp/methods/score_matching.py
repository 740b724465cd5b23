"""Score matching: the vector that turns the neutral score into that of the attribute's prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from hspace_exp.methods.learning import Noisy, Objective, denoising_loss
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit


@dataclass(frozen=True)
class ScoreMatching(Objective):
    """E ||unet(z_t, t, positive) - unet(z_t, t, neutral; h + v)||^2, the frozen model its own teacher.

    The loss of the code that Shokrolahi et al. (2026) released, on noised images there; ``focused`` uses it on states
    of the model's own sampling runs.
    """

    targets_from_model: ClassVar[bool] = True

    def __call__(self, backbone: Backbone, vectors: Tensor, batch: Noisy) -> Tensor:
        """Losses (B,)."""
        return denoising_loss(batch.predict(backbone, HEdit(vector=vectors)), batch.model_target(backbone))
