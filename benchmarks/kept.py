"""Batches that are made once: a fixed pool of noisy latents whose first half of the U-Net is kept."""

from __future__ import annotations

from dataclasses import replace

import torch

from hspace_exp.io.seeding import generator
from hspace_exp.methods.learning import Noisy
from hspace_exp.models.split import encode
from hspace_exp.training.noised import NoisedImages


class KeptBatches:
    """The first ``count`` batches of noised images, again and again; a step on one is the U-Net's second half alone.

    What ``on_policy`` does for states of sampling runs, for noised images: the noise is known, so every objective can
    learn from it. It is a trade: fewer distinct noises for faster steps.
    """

    def __init__(self, examples: NoisedImages, count: int, taught: bool = False) -> None:
        """Make the batches.

        Args:
            examples: where they are drawn from.
            count: batches.
            taught: also keep the frozen model's prediction under the positive prompt.
        """
        self.seed = examples.seed
        self.batches = [_kept(examples, examples.draw(step), taught) for step in range(count)]

    def draw(self, step: int) -> Noisy:
        """One of them, in an order that is shuffled anew each time round."""
        around, at = divmod(step, len(self.batches))
        order = torch.randperm(len(self.batches), generator=generator("kept", self.seed, around))
        return self.batches[int(order[at])]


@torch.no_grad()
def _kept(examples: NoisedImages, batch: Noisy, taught: bool) -> Noisy:
    backbone = examples.backbone
    encoded = encode(backbone, batch.latents, batch.timesteps, batch.embeds)
    return replace(batch, encoded=encoded, teacher=batch.model_target(backbone) if taught else None)
