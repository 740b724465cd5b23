"""Heat that says where an attribute is, from finished latents alone: for generated and rendered images alike.

Two kinds. ``attention``: what the attribute's words get of cross-attention (Tang et al., 2023). ``difference``: how far
the model's predictions under the prompt with the attribute and without it are apart at the same z_t, which is the idea
of DiffEdit (Couairon et al., 2022). The difference has the latents' own resolution, and is taken at high noise, where
attributes are still undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from hspace_exp.errors import unknown
from hspace_exp.io.seeding import generator
from hspace_exp.models.attention import record_cross_attention
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.prompts import PromptEmbeds
from hspace_exp.prompts.attributes import ConceptPrompts

# Shares of the noise schedule, in [0, 1). The difference's were chosen on validation renders: experiments/mask_quality.
EVERYWHERE = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)
HIGH_NOISE = (0.8, 0.9)
# Noises of each image at each share, for the difference.
REPEATS = 2
BATCH_SIZE = 16

# (share of the schedule, which of its noises) → z_t of some latents (B, C, H, W), and its timesteps (B,).
Noised = Callable[[float, int], tuple[Tensor, Tensor]]


def noised(
    backbone: Backbone, latents: Tensor, prompt: str, image_seed: int, indices: Sequence[int], share: float, repeat: int
) -> tuple[Tensor, Tensor]:
    """z_t of (B, C, H, W) latents at a share of the schedule in [0, 1), and its (B,) timesteps.

    The noise belongs to an image's own index, so that batches and order change nothing.
    """
    keys = [("heat", image_seed, prompt, i, str(share), repeat) for i in indices]
    noise = torch.stack([torch.randn(latents.shape[1:], generator=generator(*key)) for key in keys]).to(latents)
    step = min(int(share * backbone.num_train_timesteps), backbone.num_train_timesteps - 1)
    timesteps = torch.full((len(latents),), step, device=latents.device)
    return backbone.add_noise(latents, noise, timesteps), timesteps


def mean_one(heat: Tensor) -> Tensor:
    """(B, 1, h, w) heat scaled to a mean of 1, so that no timestep outweighs another."""
    return heat / heat.mean((-2, -1), keepdim=True).clamp(min=torch.finfo(heat.dtype).tiny)


def difference(backbone: Backbone, prompts: ConceptPrompts, count: int, at: Noised) -> Tensor:
    """|eps(z_t, y+) - eps(z_t, y-)| of ``count`` images, mean over channels, timesteps and noises: (B, 1, H, W), >= 0.

    Follows section 3 of Couairon et al. (2022), with the mean over noises; each timestep weighs the same.
    """
    both = (prompts.positive, prompts.neutral)
    embeds = PromptEmbeds.cat([backbone.encode_prompts([prompt]).expand(count) for prompt in both])
    heat = torch.zeros(())
    for share in HIGH_NOISE:
        at_share = torch.zeros(())
        for repeat in range(REPEATS):
            z_t, t = (torch.cat([some, some]) for some in at(share, repeat))
            with_attribute, without = backbone.noise_prediction(backbone.predict(z_t, t, embeds), z_t, t).chunk(2)
            at_share = at_share + (with_attribute - without).abs().mean(1, keepdim=True)
        heat = heat + mean_one(at_share)
    return heat / len(HIGH_NOISE)


def attention(backbone: Backbone, prompts: ConceptPrompts, count: int, at: Noised) -> Tensor:
    """Attention that the concept's words get of ``count`` images, mean over heads, layers and evenly spaced timesteps.

    It stands for what sampling records of a generated image, where the image was not sampled or not recorded: z_t is
    the noised image instead of the trajectory's. (B, 1, h, w) in [0, 1], at the finest resolution with cross-attention.
    """
    embeds = backbone.encode_prompts([prompts.positive]).expand(count)
    tokens = backbone.word_mask(prompts.positive, prompts.words).expand(count, -1)
    with record_cross_attention(backbone.unet, tokens, keep=embeds.read) as record:
        for share in EVERYWHERE:
            backbone.predict(*at(share, 0), embeds)
    return record.heatmap()


HEATS = {"attention": attention, "difference": difference}


@torch.no_grad()
def heatmaps(
    kind: str,
    backbone: Backbone,
    latents: Tensor,
    prompts: ConceptPrompts,
    image_seed: int,
    indices: Sequence[int] | None = None,
) -> Tensor:
    """Heat of a kind that a provider asks for, ``attention`` or ``difference``; (N, 1, h, w) float32 on the CPU.

    Of (N, C, H, W) scaled latents of finished images that show the concept of ``prompts``, by the model that made them
    or knows their kind. Noises are seeded by ``image_seed`` and the images' ``indices``, 0 … N-1 by default.
    """
    if kind not in HEATS:
        raise unknown("kind of heat", kind, HEATS)
    indices = range(len(latents)) if indices is None else indices
    found = []
    for start in range(0, len(latents), BATCH_SIZE):
        some = latents[start : start + BATCH_SIZE].to(backbone.device, torch.float32)
        keys = indices[start : start + BATCH_SIZE]
        at = partial(noised, backbone, some, prompts.positive, image_seed, keys)
        found.append(HEATS[kind](backbone, prompts, len(some), at).cpu())
    return torch.cat(found)
