"""The training loop of concept vectors: a LightningModule whose only parameter is the vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from hspace_exp.concepts.method import Training
from hspace_exp.concepts.objectives import Noisy
from hspace_exp.models.backbone import Backbone
from hspace_exp.progress import track
from hspace_exp.seeding import generator


class ConceptModule(lightning.LightningModule):
    """K vectors learnt side by side: one frozen U-Net pass serves K x B rows.

    The optimisers in use work element by element, so each vector moves as if it were trained alone. What a step sees
    depends on the seed, the step and the concept's name only, so training resumes exactly.
    """

    def __init__(
        self,
        backbone: Backbone,
        training: Training,
        names: Sequence[str],
        neutral: Sequence[str],
        latents: Tensor,
        maps: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        """Take what is learnt from.

        Args:
            backbone: frozen; not a part of this module, so neither trained nor checkpointed.
            training: how.
            names: of K concepts.
            neutral: K prompts without the attribute.
            latents: (K, N, C, H, W) of x+.
            maps: (K, N, 1, S, S) uint8 attribute maps, where the objective needs them.
            seed: of initial values, images, timesteps and noises.
        """
        super().__init__()
        self.backbone, self.training_settings = backbone, training
        self.names, self.seed = tuple(names), seed
        self.latents: Tensor
        self.maps: Tensor | None
        self.register_buffer("latents", latents, persistent=False)
        self.register_buffer("maps", maps, persistent=False)
        embeds = backbone.encode_prompts(list(neutral))
        self.embeds = embeds.repeat(training.batch_size)
        channels, height, width = backbone.h_shape
        shape = (channels, height, width) if training.vector == "spatial" else (channels, 1, 1)
        start = [torch.randn(shape, generator=generator("vector", seed, name)) for name in self.names]
        self.vectors = nn.Parameter(training.init_std * torch.stack(start))

    def draw(self, step: int) -> Noisy:
        """The batch of one step: B noised images of each concept, K x B rows."""
        latents, size = self.latents, self.training_settings.batch_size
        first, last = self.training_settings.timesteps
        last = min(last, self.backbone.num_train_timesteps)
        rows, times, noises = [], [], []
        for name in self.names:
            random = generator("training", self.seed, name, step)
            rows.append(torch.randint(latents.shape[1], (size,), generator=random))
            times.append(torch.randint(first, last, (size,), generator=random))
            noises.append(torch.randn(size, *latents.shape[2:], generator=random))
        device = latents.device
        concept = torch.arange(len(self.names), device=device).repeat_interleave(size)
        row = torch.cat(rows).to(device)
        clean, noise, t = latents[concept, row], torch.cat(noises).to(device), torch.cat(times).to(device)
        return Noisy(
            latents=self.backbone.add_noise(clean, noise, t),
            timesteps=t,
            target=self.backbone.training_target(clean, noise, t),
            embeds=self.embeds,
            maps=None if self.maps is None else self.maps[concept, row].float() / 255,
        )

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of one step, summed over concepts so that each has the gradient of its own mean."""
        settings = self.training_settings
        vectors = self.vectors.repeat_interleave(settings.batch_size, dim=0)
        losses = settings.objective(self.backbone, vectors, self.draw(self.global_step))
        losses = losses.view(len(self.names), settings.batch_size).mean(1)
        with torch.no_grad():
            sizes = self.vectors.square().mean((1, 2, 3)).sqrt()
            curves = {f"loss/{name}": loss.detach() for name, loss in zip(self.names, losses, strict=True)}
            curves |= {f"vector_rms/{name}": size for name, size in zip(self.names, sizes, strict=True)}
        self.log_dict(curves)
        return losses.sum()

    def configure_optimizers(self) -> Any:
        """The method's optimiser of the vectors."""
        return self.training_settings.optimizer([self.vectors])


class Steps:
    """Counts steps for the trainer, with a progress bar; each step draws its own batch."""

    def __init__(self, total: int, description: str) -> None:
        """Take the number of steps."""
        self.total, self.description = total, description

    def __len__(self) -> int:
        """Number of steps."""
        return self.total

    def __iter__(self) -> Iterator[int]:
        """Yield 0 … total - 1."""
        yield from track(range(self.total), description=self.description)
