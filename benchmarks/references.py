"""Training steps of other people's code, written anew from descriptions of what it does, with the parts it uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.models import NEUTRAL, POSITIVE
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import edit_hspace


class Loop:
    """What both have in common: images and prompts come in, and are encoded at every step."""

    def __init__(self, backbone: Backbone, vae: Any, batch: int) -> None:  # noqa: ANN401 (a diffusers class)
        """Take a frozen model, its VAE in the type that is compared, and the rows of a step."""
        self.backbone, self.vae, self.batch = backbone, vae, batch
        self.device, self.random = backbone.device, torch.Generator().manual_seed(0)
        side = backbone.image_size
        self.images = torch.rand(batch, 3, side, side, generator=self.random).to(self.device, vae.dtype) * 2 - 1

    @torch.no_grad()
    def encode_images(self) -> Tensor:
        """A draw of the VAE's posterior, scaled: (B, C, H, W)."""
        return self.vae.encode(self.images).latent_dist.sample() * self.vae.config.scaling_factor

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Text features (B, L, D), computed anew."""
        tokenizer, encoder = self.backbone.prompt_encoder.tokenizers[0], self.backbone.prompt_encoder.text_encoders[0]
        length = self.backbone.prompt_encoder.lengths[0]
        tokens = tokenizer(list(prompts), padding="max_length", max_length=length, return_tensors="pt")
        return encoder(tokens.input_ids.to(self.device)).last_hidden_state

    def noise_and_times(self) -> tuple[Tensor, Tensor]:
        """Fresh noise (B, C, H, W) and timesteps (B,)."""
        noise = torch.randn(self.batch, *self.backbone.latent_shape, device=self.device)
        return noise, torch.randint(0, self.backbone.num_train_timesteps, (self.batch,), device=self.device)

    def noisy(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """z_t."""
        return self.backbone.add_noise(latents, noise, times)

    def predict(self, latents: Tensor, times: Tensor, states: Tensor) -> Tensor:
        """The U-Net's output, float32."""
        dtype = self.backbone.dtype
        return self.backbone.unet(latents.to(dtype), times, encoder_hidden_states=states.to(dtype)).sample.float()

    def edited(self, latents: Tensor, times: Tensor, states: Tensor, vector: Tensor) -> Tensor:
        """The same with h + v; whatever requires a gradient gets one."""
        with edit_hspace(self.backbone.unet, lambda h: (h + vector).to(h.dtype)):
            return self.predict(latents, times, states)


class ReleasedStep(Loop):
    """The code released with "Learning Where It Matters": match the frozen model's score under the positive prompt.

    The latents require a gradient, so the backward pass goes through the whole U-Net. The teacher's pass is taken to
    build no graph. Channel vector, AdamW, learning rate and decay 1e-2.
    """

    def __init__(self, backbone: Backbone, vae: Any, batch: int) -> None:  # noqa: ANN401
        """Start from small noise."""
        super().__init__(backbone, vae, batch)
        start = 0.02 * torch.randn(backbone.h_shape[0], 1, 1, generator=self.random)
        self.vector = start.to(self.device).requires_grad_()
        self.optimizer = torch.optim.AdamW([self.vector], lr=0.01, weight_decay=0.01)

    def loss(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Of one batch; ``latents`` may require a gradient."""
        noisy = self.noisy(latents, noise, times)
        with torch.no_grad():
            wanted = self.predict(noisy, times, self.encode_prompts([POSITIVE] * self.batch))
        found = self.edited(noisy, times, self.encode_prompts([NEUTRAL] * self.batch), self.vector)
        return F.mse_loss(found, wanted)

    def __call__(self) -> None:
        """One step."""
        latents = self.encode_images().float().requires_grad_()
        self.optimizer.zero_grad()
        self.loss(latents, *self.noise_and_times()).backward()
        self.optimizer.step()


class DiscoveringStep(Loop):
    """SDID: the noise is predicted with h + v, spatial v, Adam, learning rate 0.1.

    Nothing before the middle block requires a gradient, so the backward pass ends there.
    """

    def __init__(self, backbone: Backbone, vae: Any, batch: int, cached: bool = False) -> None:  # noqa: ANN401
        """Start from zero; ``cached`` encodes the images once."""
        super().__init__(backbone, vae, batch)
        self.latents = self.encode_images().float() if cached else None
        self.vector = torch.zeros(backbone.h_shape, device=self.device, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.vector], lr=0.1)

    def loss(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Of one batch."""
        states = self.encode_prompts([NEUTRAL] * self.batch)
        return F.mse_loss(self.edited(self.noisy(latents, noise, times), times, states, self.vector), noise)

    def __call__(self) -> None:
        """One step."""
        latents = self.encode_images().float() if self.latents is None else self.latents
        self.optimizer.zero_grad()
        self.loss(latents, *self.noise_and_times()).backward()
        self.optimizer.step()
