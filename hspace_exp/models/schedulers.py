"""The noise schedule: the forward process, its regression targets, and which sampler denoises."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import diffusers
from torch import Tensor

from hspace_exp.errors import unknown

KINDS = {"native": None, "ddim": "DDIMScheduler", "dpm": "DPMSolverMultistepScheduler"}
PREDICTION_TYPES = ("epsilon", "v_prediction")


def signal_and_noise(alphas_cumprod: Tensor, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Signal and noise scales (sqrt(a_t), sqrt(1 - a_t)) of eq. (4) of Ho et al. (2020), shaped to multiply ``like``.

    Args:
        alphas_cumprod: (T,) cumulative products of 1 - beta, in [0, 1].
        timesteps: (B,) or scalar integers in [0, T).
        like: (B, ...) tensor the scales are for.
    """
    alpha = alphas_cumprod.to(like.device)[timesteps.to(like.device)].to(like.dtype)
    alpha = alpha.reshape(-1, *[1] * (like.ndim - 1))
    return alpha.sqrt(), (1 - alpha).sqrt()


def add_noise(latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """Draw z_t = sqrt(a_t) z_0 + sqrt(1 - a_t) eps. Implements eq. (4) of Ho et al. (2020). All (B, C, H, W)."""
    signal, sigma = signal_and_noise(alphas_cumprod, timesteps, latents)
    return signal * latents + sigma * noise


def training_target(
    latents: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor, prediction_type: str
) -> Tensor:
    """What the model is asked to predict at z_t: eps, or v = sqrt(a_t) eps - sqrt(1 - a_t) z_0.

    Implements the v of appendix D of Salimans & Ho (2022). All (B, C, H, W).
    """
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "v_prediction":
        signal, sigma = signal_and_noise(alphas_cumprod, timesteps, latents)
        return signal * noise - sigma * latents
    raise unknown("prediction type", prediction_type, PREDICTION_TYPES)


def noise_prediction(
    output: Tensor, noisy: Tensor, timesteps: Tensor, alphas_cumprod: Tensor, prediction_type: str
) -> Tensor:
    """The eps that a model output means: the output itself, or sqrt(a_t) v + sqrt(1 - a_t) z_t. All (B, C, H, W)."""
    if prediction_type == "epsilon":
        return output
    if prediction_type == "v_prediction":
        signal, sigma = signal_and_noise(alphas_cumprod, timesteps, noisy)
        return signal * output + sigma * noisy
    raise unknown("prediction type", prediction_type, PREDICTION_TYPES)


def make_scheduler(native: Any, kind: str = "native") -> Any:
    """A diffusers scheduler for a model that comes with ``native``.

    Args:
        native: the model's own scheduler; its noise schedule and prediction type are kept.
        kind: ``native``, ``ddim`` (Song et al., 2021) or ``dpm`` (DPM-Solver++ 2M; Lu et al., 2022).
    """
    if kind not in KINDS:
        raise unknown("scheduler kind", kind, KINDS)
    name = KINDS[kind]
    return native if name is None else getattr(diffusers, name).from_config(native.config)


@dataclass(frozen=True)
class Swapped:
    """A scheduler for the images that are evaluated, while vectors are learnt from images of another one.

    Attributes:
        kind: for the images that are evaluated, see ``make_scheduler``.
        learnt_with: kind for those that vectors are learnt from.
    """

    kind: str
    learnt_with: str = "native"

    def __post_init__(self) -> None:
        """Refuse unknown kinds before anything is made."""
        for kind in (self.kind, self.learnt_with):
            if kind not in KINDS:
                raise unknown("scheduler kind", kind, KINDS)

    def __call__(self, native: Any) -> Any:
        """The scheduler of evaluated images, for a model that comes with ``native``."""
        return make_scheduler(native, self.kind)

    @property
    def learning(self) -> partial[Any]:
        """Makes the scheduler that vectors are learnt with, as ``__call__`` does."""
        return partial(make_scheduler, kind=self.learnt_with)
