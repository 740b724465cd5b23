"""How noise is added to latents, what a model is trained to predict of it, and which noise a prediction means."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hspace_exp.errors import UserError, unknown

PREDICTION_TYPES = ("epsilon", "v_prediction")
FLOW = "flow_prediction"


def is_flow(scheduler: Any) -> bool:  # noqa: ANN401 (diffusers' classes)
    """Whether a scheduler is of flow matching, which mixes noise and image along a straight line."""
    return hasattr(scheduler, "scale_noise") or scheduler.config.get("prediction_type") == FLOW


class Diffusion:
    """z_t = sqrt(a_t) x + sqrt(1 - a_t) eps of Ho et al. (2020), of models that predict eps or v at whole timesteps."""

    dtype = torch.long  # of timesteps that are kept

    def __init__(self, scheduler: Any) -> None:  # noqa: ANN401 (diffusers' classes)
        """Take the noise schedule. Raises UserError: it is not discrete, or what is predicted is something else."""
        from diffusers import DDPMScheduler  # seconds, which importing this need not take

        if not hasattr(scheduler, "alphas_cumprod"):
            raise UserError(f"expected a scheduler with a discrete noise schedule, got {type(scheduler).__name__}")
        self.prediction_type, steps = str(scheduler.config.prediction_type), int(scheduler.config.num_train_timesteps)
        if self.prediction_type not in PREDICTION_TYPES:
            raise unknown("prediction type", self.prediction_type, (*PREDICTION_TYPES, FLOW))
        # diffusers' samplers do not all add noise by eq. (4) of Ho et al. (2020); this one does, on any schedule.
        self._own: Any = DDPMScheduler(steps)
        self._own.alphas_cumprod = scheduler.alphas_cumprod

    def times(self, drawn: Tensor) -> Tensor:
        """The timesteps that are trained at, of (B,) whole ones drawn uniformly: these."""
        return drawn

    def add(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """z_t of latents and noise (B, C, H, W) at (B,) timesteps."""
        return self._own.add_noise(latents, noise, timesteps)

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What a model should predict at z_t: eps, or the v of appendix D of Salimans & Ho (2022)."""
        return noise if self.prediction_type == "epsilon" else self._own.get_velocity(latents, noise, timesteps)

    def noise(self, output: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """The eps that a prediction at z_t means: itself, or sqrt(a_t) v + sqrt(1 - a_t) z_t."""
        if self.prediction_type == "epsilon":
            return output
        return self._own.get_velocity(-noisy, output, timesteps)  # sqrt(a_t) v - sqrt(1 - a_t) (-z_t)

    def start(self, scheduler: Any, steps: int, device: torch.device) -> None:  # noqa: ANN401
        """Set a scheduler's timesteps for so many steps."""
        scheduler.set_timesteps(steps, device=device)


class Flow:
    """z_t = (1 - sigma) x + sigma eps, of models that predict v = eps - x (Lipman et al., 2023; Liu et al., 2023).

    Timesteps are t = 1000 sigma, not whole ones. Training draws sigma evenly and then shifts it towards noise as
    sampling does, s sigma / (1 + (s - 1) sigma), sec. 5.3.2 of Esser et al. (2024). That is our reading: SD3 itself
    was trained with logit-normal sigmas.
    """

    dtype, prediction_type = torch.float32, FLOW

    def __init__(self, scheduler: Any, grid: tuple[int, int], even: bool = False) -> None:  # noqa: ANN401 (diffusers' classes)
        """Take the shift s, which may depend on the ``grid`` of tokens; ``even`` steps begin at 1, as FLUX's."""
        config = scheduler.config
        self.steps, self._even, self._mu = int(config.num_train_timesteps), even, None
        self.shift = float(config.get("flow_shift", config.get("shift", 1.0)))
        if config.get("use_dynamic_shifting"):
            least, most = config.base_image_seq_len, config.max_image_seq_len
            slope = (config.max_shift - config.base_shift) / (most - least)
            self._mu = math.prod(grid) * slope + (config.base_shift - slope * least)
            self.shift = math.exp(self._mu) if config.time_shift_type == "exponential" else self._mu

    def _sigma(self, timesteps: Tensor) -> Tensor:
        return (timesteps.float() / self.steps).reshape(-1, 1, 1, 1)

    def times(self, drawn: Tensor) -> Tensor:
        """The timesteps that are trained at, (B,) float32, of whole ones drawn uniformly from [0, 1000)."""
        sigma = (drawn + 1) / self.steps
        return self.steps * self.shift * sigma / (1 + (self.shift - 1) * sigma)

    def add(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """z_t of latents and noise (B, C, H, W) at (B,) timesteps."""
        return torch.lerp(latents, noise, self._sigma(timesteps))

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What a model should predict at z_t: v."""
        return noise - latents

    def noise(self, output: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """The eps that a prediction at z_t means: z_t + (1 - sigma) v."""
        return noisy + (1 - self._sigma(timesteps)) * output

    def start(self, scheduler: Any, steps: int, device: torch.device) -> None:  # noqa: ANN401 (diffusers' classes)
        """Set a scheduler's timesteps for so many steps, as the model's pipeline does."""
        options: dict[str, Any] = {} if self._mu is None else {"mu": self._mu}
        if self._even and not scheduler.config.get("use_flow_sigmas"):
            options["sigmas"] = np.linspace(1.0, 1 / steps, steps)
        scheduler.set_timesteps(steps, device=device, **options)
