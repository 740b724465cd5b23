"""What only the embedded world can give an evaluation: true probabilities, and images of known truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from hspace_exp.avatars.labelled import load_labelled
from hspace_exp.avatars.world import PROFESSIONS, load_truth
from hspace_exp.evaluation.evaluate import Labelled
from hspace_exp.evaluation.metrics.base import Setting, share_of
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.io.images import as_float, resized, to_uint8
from hspace_exp.masks import ImageMaker, MaskProvider
from hspace_exp.masks.heat import heatmaps
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import JOIN, Concepts, Group

# Labelled renders that attribute maps are compared on: two of each profession, all values evenly.
MASKED = 72
_BATCH = 8


def world_truth(*attributes: str) -> dict[str, dict[str, float]]:
    """P(value | profession) of an attribute of ``SKEWED``, or of the combination of several.

    Given the profession, attributes are independent of one another there.
    """
    truth = {}
    for profession in PROFESSIONS:
        parts = [load_truth()[profession][attribute] for attribute in attributes]
        truth[profession] = {
            JOIN.join(values): math.prod(part[value] for part, value in zip(parts, values, strict=True))
            for values in product(*parts)
        }
    return truth


def labelled_renders(attributes: Sequence[str], count: int) -> Labelled:
    """The first ``count`` labelled renders (at most 216), professions in turn; multiples of 36 show all values evenly.

    Labels are the values of ``attributes``, e.g. of ["gender"], or their combinations.
    """
    renders = load_labelled()
    values = zip(*(renders.labels[name][:count] for name in attributes), strict=True)
    return Labelled(torch.from_numpy(renders.images[:count]), [JOIN.join(some) for some in values])


@dataclass(frozen=True)
class Renders:
    """Images of a model's own kind whose attribute is known exactly."""

    images: Tensor  # (N, S, S, 3) uint8, decoded from the latents
    latents: Tensor  # (N, C, H, W) scaled latents
    exact: Tensor  # (N, 1, S, S) true masks
    names: tuple[str, ...]  # the concept of each
    indices: tuple[int, ...]  # a number of each among its concept's images, which seeds the noise of its heat


def decoded_renders(
    backbone: Backbone, latents: Tensor, exact: Tensor, names: Sequence[str], indices: Sequence[int]
) -> Renders:
    """Renders as the autoencoder shows them: so are the images of a run."""
    decoded = [backbone.decode_latents(some) for some in latents.split(_BATCH)]
    return Renders(torch.from_numpy(to_uint8(torch.cat(decoded))), latents, exact, tuple(names), tuple(indices))


def shipped_renders(backbone: Backbone, group: Group, count: int = MASKED) -> Renders | None:
    """Those of the first ``count`` labelled renders that show a concept of the group; None where none does."""
    renders = load_labelled()
    shown = renders.labels.get(group.name, ())[:count]
    rows = [i for i, value in enumerate(shown) if value in group.concepts]
    if not rows:
        return None
    side = backbone.image_size
    images = resized(as_float(torch.from_numpy(renders.images[rows])), side)
    exact = torch.from_numpy(renders.mask(group.part)[rows])[:, None].float()
    exact = F.interpolate(exact, (side, side), mode="nearest-exact")
    latents = torch.cat([backbone.encode_images(some).cpu() for some in images.split(_BATCH)])
    return decoded_renders(backbone, latents, exact, [shown[i] for i in rows], rows)


def maps_of(
    provider: MaskProvider, backbone: Backbone, found: Renders, concepts: Concepts, image_seed: int = 1
) -> Tensor:
    """(N, 1, S, S) maps of renders in [0, 1], from the heat that the provider asks for."""
    maps = torch.zeros_like(found.exact)
    for name, prompts in concepts.items():
        rows, heat = [i for i, other in enumerate(found.names) if other == name], None
        if rows and provider.heat is not None:
            indices = [found.indices[i] for i in rows]
            heat = heatmaps(provider.heat, backbone, found.latents[rows], prompts, image_seed, indices)
        if rows:
            maps[rows] = provider.maps(found.images[rows], heat).cpu()
    return maps


def map_iou(maps: Tensor, exact: Tensor) -> Tensor:
    """(N,) intersection over union of (N, 1, S, S) maps cut at 0.5 and true masks; 1 where both are empty."""
    found, true = maps >= 0.5, exact.to(maps.device) >= 0.5
    either = (found | true).sum((1, 2, 3))
    return torch.where(either > 0, (found & true).sum((1, 2, 3)) / either.clamp(min=1), 1.0)


def mask_iou(maps: Tensor, found: Renders) -> MetricValue:
    """Mean ``map_iou`` of (N, 1, S, S) maps in [0, 1] with its 95 % bootstrap interval over images."""
    names = [f"{name}/{index}" for name, index in zip(found.names, found.indices, strict=True)]
    return share_of(names, map_iou(maps, found.exact), "Mask IoU", Setting())


def mask_ious(provider: MaskProvider, backbone: Backbone, groups: Sequence[Group]) -> dict[str, MetricValue]:
    """``mask_iou`` of a provider on the labelled renders; of several groups one each, e.g. ``mask_iou_gender``."""
    values: dict[str, MetricValue] = {}
    if isinstance(provider, ImageMaker):
        return values  # its maps are the truth
    for group in groups:
        found = shipped_renders(backbone, group)
        if found is not None:
            name = "mask_iou" if len(groups) == 1 else f"mask_iou_{group.name}"
            values[name] = mask_iou(maps_of(provider, backbone, found, group.concepts), found)
    return values
