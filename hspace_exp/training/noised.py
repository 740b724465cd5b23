"""Training batches from images of the attribute, noised afresh at every step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hspace_exp.io.seeding import generator
from hspace_exp.methods.learning import Noisy
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.prompts import PromptEmbeds
from hspace_exp.prompts.attributes import Concepts


class NoisedImages:
    """B noised x+ of each of K concepts; what a step sees depends on the seed, the step and the concept's name only."""

    def __init__(
        self,
        backbone: Backbone,
        prompts: Concepts,
        latents: Tensor,
        maps: Tensor | None = None,
        *,
        batch_size: int = 8,
        timesteps: Sequence[int] = (0, 1000),
        seed: int = 0,
    ) -> None:
        """Take what is learnt from.

        Args:
            backbone: encodes prompts and knows the noise schedule.
            prompts: K concepts by name, with their prompts.
            latents: (K, N, C, H, W) of x+.
            maps: (K, N, 1, S, S) uint8 attribute maps.
            batch_size: B.
            timesteps: drawn uniformly from [first, last).
            seed: of images, timesteps and noises.
        """
        self.backbone, self.names, self.seed = backbone, tuple(prompts), seed
        self.latents, self.maps, self.batch_size = latents, maps, batch_size
        self.first, self.last = timesteps[0], min(timesteps[1], backbone.num_train_timesteps)
        self.embeds = embeds_of(backbone, prompts, "neutral", batch_size)
        self.positive, self.words = (
            embeds_of(backbone, prompts, kind, batch_size)
            if all(getattr(some, kind) for some in prompts.values())
            else None
            for kind in ("positive", "words")
        )

    def draw(self, step: int) -> Noisy:
        """The batch of one step, K x B rows."""
        rows, times, noises = [], [], []
        for name in self.names:
            random = generator("training", self.seed, name, step)
            rows.append(torch.randint(self.latents.shape[1], (self.batch_size,), generator=random))
            times.append(torch.randint(self.first, self.last, (self.batch_size,), generator=random))
            noises.append(torch.randn(self.batch_size, *self.latents.shape[2:], generator=random))
        device = self.backbone.device
        row, t, noise = (torch.cat(drawn) for drawn in (rows, times, noises))
        concept = torch.arange(len(self.names)).repeat_interleave(self.batch_size)
        clean, noise, t = self.latents[concept, row].to(device), noise.to(device), t.to(device)
        return Noisy(
            latents=self.backbone.add_noise(clean, noise, t),
            timesteps=t,
            embeds=self.embeds,
            target=self.backbone.training_target(clean, noise, t),
            maps=None if self.maps is None else self.maps[concept, row].to(device).float() / 255,
            positive=self.positive,
            words=self.words,
        )


def embeds_of(backbone: Backbone, prompts: Concepts, kind: str, batch_size: int) -> PromptEmbeds:
    """One kind of prompt of every concept, each ``batch_size`` times."""
    return backbone.encode_prompts([getattr(some, kind) for some in prompts.values()]).repeat(batch_size)
