"""The training loop of concept vectors: a LightningModule whose only parameter is the vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import lightning
import torch
from torch import Tensor, nn

from hspace_exp.io.seeding import generator
from hspace_exp.methods.learning import Noisy, Training
from hspace_exp.models.backbone import Backbone


class Examples(Protocol):
    """Where batches come from."""

    def draw(self, step: int) -> Noisy:
        """The batch of one step: B rows of the first concept, then of the second, and so on."""


class ConceptModule(lightning.LightningModule):
    """K vectors learnt side by side: one frozen U-Net pass serves K x B rows.

    The optimisers in use work element by element, so each vector moves as if it were trained alone. What a step sees
    depends on the seed, the step and the concept's name only, so training resumes exactly.
    """

    def __init__(
        self, backbone: Backbone, training: Training, names: Sequence[str], examples: Examples, seed: int = 0
    ) -> None:
        """Take what is learnt from.

        The backbone is no part of it, so neither trained nor checkpointed; ``seed`` is of K concepts' initial values.
        """
        super().__init__()
        self.backbone, self.training_settings, self.examples = backbone, training, examples
        self.names, self.seed = tuple(names), seed
        start = [training.objective.start(backbone, training.vector, generator("vector", seed, name)) for name in names]
        self.vectors = nn.Parameter(training.init_std * torch.stack(start))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Loss of one step, summed over concepts so that each has the gradient of its own mean."""
        batch = self.examples.draw(self.global_step)
        rows = len(batch.latents) // len(self.names)
        vectors = self.vectors.repeat_interleave(rows, dim=0)
        losses = losses_of(self.training_settings.objective, self.backbone, vectors, batch)
        losses = losses.view(len(self.names), rows).mean(1)
        trainer: Any = self.trainer  # sets this attribute where type checkers do not look
        every = trainer.log_every_n_steps
        # to hand the trainer the curves of steps that it does not write down takes milliseconds
        if trainer.loggers and every and (self.global_step + 1) % every == 0:
            with torch.no_grad():
                sizes, shown = self.vectors.square().mean((1, 2, 3)).sqrt(), losses.detach().clone()
                curves = {f"loss/{name}": loss for name, loss in zip(self.names, shown, strict=True)}
                curves |= {f"vector_rms/{name}": size for name, size in zip(self.names, sizes, strict=True)}
            self.log_dict(curves)
        return losses.sum()

    def configure_optimizers(self) -> Any:
        """The method's optimiser of the vectors, and its schedule of the learning rate, where it has one."""
        optimizer = self.training_settings.optimizer([self.vectors])
        if self.training_settings.decay == "none":
            return optimizer
        total = max(1, self.trainer.max_steps)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def losses_of(
    objective: Callable[[Backbone, Tensor, Noisy], Tensor], backbone: Backbone, vectors: Tensor, batch: Noisy
) -> Tensor:
    """Losses (B,) of a batch, of which at most ``backbone.micro_batch_size`` rows are in memory at a time.

    A row's loss depends on that row's vector alone. So each part's gradient is taken as soon as its losses are there,
    its activations are freed, and the gradient is handed on when the whole is differentiated. ``objective`` gives one
    loss a row; ``vectors`` are (B, ...), one a row, and gradients flow to them.
    """
    rows, most = len(vectors), backbone.micro_batch_size
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
