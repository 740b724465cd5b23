"""Readings that are ours: of m, which attenuates how h differs from its mean over neutral runs, and of v."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.recording import record_hspace
from hspace_exp.io.seeding import LEARNING, initial_noise
from hspace_exp.methods.learning import Noisy
from hspace_exp.methods.lwim import Localised
from hspace_exp.methods.steering import AddedVector, Application, Steering
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit
from hspace_exp.models.sampling import Sampling
from hspace_exp.prompts.plan import Item

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


@dataclass(frozen=True)
class ModelTarget(Localised):
    """What is to be predicted is what the frozen model itself predicts under the positive prompt."""

    targets_from_model = True

    def __call__(self, backbone: Backbone, vectors: Tensor, batch: Noisy) -> Tensor:
        """Losses (B,)."""
        return Localised.__call__(self, backbone, vectors, replace(batch, target=batch.model_target(backbone)))


@dataclass(frozen=True)
class MinusNeutral:
    """v minus the vector that is learnt alike for the neutral prompt: what any x+ asks of v cancels.

    The neutral prompt is the one concept of the attribute's only group of ``keep``.
    """

    keeps: ClassVar[bool] = True
    composes: ClassVar[bool] = False

    def steer(self, application: Application, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``, as without it but for the vectors."""
        a = application
        ((neutral,),) = [group.values() for group in a.kept.values()]
        vectors = {name: concept.vector - neutral.vector for name, concept in a.concepts.items()}
        return AddedVector(vectors, a.strength, a.branch, a.frequency, a.window)(backbone, items, guided)
