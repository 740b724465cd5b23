"""Heat that says where an attribute is, from finished latents alone: for generated and rendered images alike.

Two kinds. ``attention``: what the attribute's words get of cross-attention (Tang et al., 2023). ``difference``: how far
the model's predictions under the prompt with the attribute and without it are apart at the same z_t, which is the idea
of DiffEdit (Couairon et al., 2022). The difference has the latents' own resolution, and is taken at high noise, where
attributes are still undecided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.io.seeding import generator
from hspace_exp.masks import check_heat
from hspace_exp.models.attention import record_cross_attention
from hspace_exp.models.backbone import Backbone, PromptEmbeds
from hspace_exp.prompts.attributes import ConceptPrompts

# Shares of the noise schedule. The difference's were chosen on validation renders: experiments/mask_quality.
EVERYWHERE = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)
HIGH_NOISE = (0.8, 0.9)


def noised(
    backbone: Backbone, latents: Tensor, share: float, repeat: int, prompt: str, image_seed: int, indices: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """z_t of (B, C, H, W) latents at a share of the schedule in [0, 1), and its (B,) timesteps.

    The noise belongs to an image's own index, so that batches and order change nothing.
    """
    noise = torch.stack(
        [
            torch.randn(latents.shape[1:], generator=generator("heat", image_seed, prompt, i, str(share), repeat))
            for i in indices
        ]
    ).to(latents)
    step = min(int(share * backbone.num_train_timesteps), backbone.num_train_timesteps - 1)
    timesteps = torch.full((len(latents),), step, device=latents.device)
    return backbone.add_noise(latents, noise, timesteps), timesteps


def mean_one(heat: Tensor) -> Tensor:
    """(B, 1, h, w) heat scaled to a mean of 1, so that no timestep outweighs another."""
    return heat / heat.mean((-2, -1), keepdim=True).clamp(min=torch.finfo(heat.dtype).tiny)


@torch.no_grad()
def difference_heatmaps(
    backbone: Backbone,
    latents: Tensor,
    positive: str,
    neutral: str,
    image_seed: int,
    *,
    indices: Sequence[int] | None = None,
    shares: Sequence[float] = HIGH_NOISE,
    repeats: int = 2,
    batch_size: int = 16,
) -> Tensor:
    """|eps(z_t, y+) - eps(z_t, y-)|, mean over channels, timesteps and noises.

    Follows section 3 of Couairon et al. (2022), with the mean over noises; each timestep weighs the same.

    Args:
        backbone: the model that made the images, or knows their kind.
        latents: (N, C, H, W) scaled latents of finished images.
        positive: the prompt with the attribute.
        neutral: the prompt without it.
        image_seed: seeds the noises.
        indices: of the images, which also seed the noises; 0 … N-1 by default.
        shares: of the noise schedule, in [0, 1); 0.8 is t = 800 of 1,000.
        repeats: noises an image and timestep.
        batch_size: images at once; the U-Net sees twice as many.

    Returns:
        (N, 1, H, W) float32 on the CPU, >= 0.
    """
    found = []
    for some, keys in _batches(backbone, latents, indices, shares, repeats, batch_size):
        prompts = PromptEmbeds.cat([backbone.encode_prompts([p]).expand(len(some)) for p in (positive, neutral)])
        heat = some.new_zeros(len(some), 1, *some.shape[2:])
        for share in shares:
            at_share = torch.zeros_like(heat)
            for repeat in range(repeats):
                z_t, t = noised(backbone, some, share, repeat, positive, image_seed, keys)
                z_t, t = torch.cat([z_t, z_t]), torch.cat([t, t])
                with_attribute, without = backbone.noise_prediction(backbone.predict(z_t, t, prompts), z_t, t).chunk(2)
                at_share += (with_attribute - without).abs().mean(1, keepdim=True)
            heat += mean_one(at_share)
        found.append((heat / len(shares)).cpu())
    return torch.cat(found)


@torch.no_grad()
def attention_heatmaps(
    backbone: Backbone,
    latents: Tensor,
    positive: str,
    words: str,
    image_seed: int,
    *,
    indices: Sequence[int] | None = None,
    shares: Sequence[float] = EVERYWHERE,
    batch_size: int = 16,
) -> Tensor:
    """Attention that ``words`` of ``positive`` get, mean over heads, layers and evenly spaced timesteps.

    It stands for what sampling records of a generated image, where the image was not sampled or not recorded: z_t is
    the noised image instead of the trajectory's. Arguments are those of ``difference_heatmaps``.

    Returns:
        (N, 1, h, w) float32 on the CPU at the finest resolution with cross-attention, in [0, 1].
    """
    found = []
    for some, keys in _batches(backbone, latents, indices, shares, 1, batch_size):
        embeds = backbone.encode_prompts([positive]).expand(len(some))
        tokens = backbone.word_mask(positive, words).expand(len(some), -1)
        with record_cross_attention(backbone.unet, tokens) as record:
            for share in shares:
                backbone.predict(*noised(backbone, some, share, 0, positive, image_seed, keys), embeds)
        found.append(record.heatmap().cpu())
    return torch.cat(found)


def heatmaps(
    kind: str,
    backbone: Backbone,
    latents: Tensor,
    prompts: ConceptPrompts,
    image_seed: int,
    indices: Sequence[int] | None = None,
) -> Tensor:
    """Heat of a kind that a provider asks for, of images of the concept with these ``prompts``."""
    if check_heat(kind) == "difference":
        return difference_heatmaps(backbone, latents, prompts.positive, prompts.neutral, image_seed, indices=indices)
    return attention_heatmaps(backbone, latents, prompts.positive, prompts.words, image_seed, indices=indices)


def _batches(
    backbone: Backbone,
    latents: Tensor,
    indices: Sequence[int] | None,
    shares: Sequence[float],
    repeats: int,
    batch_size: int,
) -> Iterator[tuple[Tensor, Sequence[int]]]:
    """Latents on the device and the indices of their images, after a look at the arguments."""
    indices = range(len(latents)) if indices is None else indices
    if len(indices) != len(latents):
        raise UserError(f"expected one index an image, got {len(indices)} for {len(latents)}")
    if not shares or not all(0 <= share < 1 for share in shares) or repeats < 1:
        raise UserError(f"expected shares of the schedule in [0, 1) and repeats >= 1, got {list(shares)}, {repeats}")
    for start in range(0, len(latents), batch_size):
        some = latents[start : start + batch_size].to(backbone.device, torch.float32)
        yield some, indices[start : start + len(some)]
