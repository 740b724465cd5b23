"""A reading of m that is ours: what is attenuated is how h differs from its mean over neutral runs, not h itself."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch
from torch import Tensor

from hspace_exp.io.seeding import LEARNING, initial_noise
from hspace_exp.methods.learning import Noisy
from hspace_exp.methods.lwim import Localised
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit, record_hspace
from hspace_exp.models.sampling import Sampling

PROMPT, RUNS, STEPS = "a photo of a person", 64, 20
_MEANS: weakref.WeakKeyDictionary[Backbone, tuple[Tensor, Tensor]] = weakref.WeakKeyDictionary()


@torch.no_grad()
def neutral_means(backbone: Backbone) -> tuple[Tensor, Tensor]:
    """Timesteps (T,) of sampling, and the mean h (T, C, H, W) at each over the conditional half of neutral runs."""
    if backbone not in _MEANS:
        noise = torch.stack([initial_noise(PROMPT, k, backbone.latent_shape, 0, LEARNING) for k in range(RUNS)])
        embeds, steps = backbone.encode_prompts([PROMPT]).expand(RUNS), list[Tensor]()
        with record_hspace(backbone.unet) as states:
            Sampling(STEPS)(backbone, noise, embeds, on_step=lambda i, t, latents: steps.append(t))
        means = torch.stack([h[-RUNS:].float().mean(0) for h in states])
        _MEANS[backbone] = torch.stack([t.to(backbone.device) for t in steps]), means
    return _MEANS[backbone]


@dataclass(frozen=True)
class Centred(Localised):
    """m h + (1 - m) mean_h + v: v need not rebuild what every picture has, only what the attribute changes."""

    def edit(self, backbone: Backbone, vectors: Tensor, attenuation: Tensor | None, batch: Noisy) -> HEdit:
        """How v and m enter h."""
        if attenuation is None:
            return HEdit(vector=vectors)
        timesteps, means = neutral_means(backbone)
        nearest = (batch.timesteps[:, None].to(timesteps) - timesteps[None]).abs().argmin(1)
        return HEdit(vector=vectors + (1 - attenuation) * means[nearest], attenuation=attenuation)
