"""The forward process and the regression targets of a diffusion model, as pure functions."""

from __future__ import annotations

from torch import Tensor

from hspace_exp.errors import unknown

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
