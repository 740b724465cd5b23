"""The noisy latents that the frozen model itself passes through when it makes images of a prompt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hspace_exp.io.seeding import initial_noise
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Sampling


def in_turn(prompts: Sequence[str], indices: Sequence[int]) -> list[tuple[str, int]]:
    """Runs of several prompts: run i is of the i mod C-th of C prompts, with that prompt's noise i div C."""
    return [(prompts[i % len(prompts)], i // len(prompts)) for i in indices]


@torch.no_grad()
def sample_trajectories(
    backbone: Backbone, sampling: Sampling, runs: Sequence[tuple[str, int]], image_seed: int
) -> dict[str, Tensor]:
    """Model inputs and timesteps of guided runs, each of a prompt and the index of its noise."""
    found: dict[str, list[Tensor]] = {"latents": [], "timesteps": []}
    for start in range(0, len(runs), sampling.chunk_size):
        chunk = runs[start : start + sampling.chunk_size]
        noise = torch.stack([initial_noise(prompt, i, backbone.latent_shape, image_seed) for prompt, i in chunk])
        states: list[Tensor] = []
        times: list[Tensor] = []

        def keep(
            step: int, t: Tensor, latents: Tensor, states: list[Tensor] = states, times: list[Tensor] = times
        ) -> None:
            states.append(latents)
            times.append(t)

        sampling(backbone, noise, backbone.encode_prompts([prompt for prompt, _ in chunk]), on_step=keep)
        found["latents"].append(torch.stack(states, dim=1).cpu())
        found["timesteps"].append(torch.stack(times).long().cpu().expand(len(chunk), -1).clone())
    return {name: torch.cat(parts) for name, parts in found.items()}
