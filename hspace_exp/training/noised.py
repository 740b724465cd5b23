"""Training batches from images of the attribute, noised afresh at every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from hspace_exp.io.seeding import generator
from hspace_exp.methods.learning import Noisy
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import Concepts


@dataclass(eq=False)
class NoisedImages:
    """B noised x+ of each of K concepts; what a step sees depends on the seed, the step and the concept's name only.

    ``latents`` (K, N, C, H, W) are those of x+, ``maps`` (K, N, 1, S, S) their uint8 attribute maps. Timesteps are
    drawn uniformly from [first, last); those of flow matching are then shifted, see ``Flow``.
    """

    backbone: Backbone
    prompts: Concepts
    latents: Tensor
    maps: Tensor | None = None
    _: KW_ONLY
    batch_size: int = 8
    timesteps: Sequence[int] = (0, 1000)
    seed: int = 0

    def __post_init__(self) -> None:
        """Encode the prompts, each once a row."""
        encode = self.backbone.encode_prompts
        rows = [some for some in self.prompts.values() for _ in range(self.batch_size)]
        self.embeds = encode([some.neutral for some in rows])
        self.positive = encode([some.positive for some in rows]) if all(some.positive for some in rows) else None
        self.words = encode([some.words for some in rows]) if all(some.words for some in rows) else None

    def draw(self, step: int) -> Noisy:
        """The batch of one step, K x B rows."""
        rows, times, noises = [], [], []
        first, last = self.timesteps[0], min(self.timesteps[1], self.backbone.num_train_timesteps)
        for name in self.prompts:
            random = generator("training", self.seed, name, step)
            rows.append(torch.randint(self.latents.shape[1], (self.batch_size,), generator=random))
            times.append(torch.randint(first, last, (self.batch_size,), generator=random))
            noises.append(torch.randn(self.batch_size, *self.latents.shape[2:], generator=random))
        device = self.backbone.device
        row, t, noise = (torch.cat(drawn) for drawn in (rows, times, noises))
        concept = torch.arange(len(self.prompts)).repeat_interleave(self.batch_size)
        clean, noise = self.latents[concept, row].to(device), noise.to(device)
        t = self.backbone.noising.times(t.to(device))
        return Noisy(
            latents=self.backbone.add_noise(clean, noise, t),
            timesteps=t,
            embeds=self.embeds,
            target=self.backbone.training_target(clean, noise, t),
            maps=None if self.maps is None else self.maps[concept, row].to(device).float() / 255,
            positive=self.positive,
            words=self.words,
        )
