"""Where a vector acts: behind a U-Net's middle block, behind blocks of a transformer, or in their attention heads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hspace_exp.errors import UserError

# Attention of the image's tokens in a transformer's block that reads the text: jointly with the image (beside which
# SD3.5 has an attn2 of the image alone), or by itself.
_ATTENTIONS = ("attn", "attn2")
FIRST = ("conv_in", "pos_embed", "patch_embed")  # what gets the latents (B, C, H, W)


def is_transformer(network: Any) -> bool:  # noqa: ANN401 (diffusers' classes)
    """Whether a network that predicts noise is a transformer, and no U-Net."""
    return hasattr(network, "transformer_blocks")


def attends_jointly(network: Any) -> bool:  # noqa: ANN401 (diffusers' classes)
    """Whether image and text attend to each other in one attention, as in SD3 and FLUX: no cross-attention is apart."""
    return is_transformer(network) and getattr(network.transformer_blocks[0], "attn", None) is not None


@dataclass(frozen=True)
class Site:
    """Features of a network that vectors are added to, as maps (B, C, H, W).

    At ``mid_block`` they are the output of a U-Net's middle block. At ``heads:K`` they are what the output projection
    of attention gets in a transformer's block K: the heads of the image's tokens side by side, (B, N, heads d), of
    which N = H W tokens are the places of a map. At ``block:K`` they are that block's output, (B, N, D): what the image
    shows can be read there, and hardly in what attention takes from the text. Maps of several blocks, ``heads:K+L``,
    lie side by side along C.
    """

    name: str = "mid_block"
    modules: tuple[str, ...] = ("mid_block",)  # dotted names, in the order in which they run
    widths: tuple[int, ...] = ()  # channels of each where there are tokens; none: it is a map already
    grid: tuple[int, int] = (0, 0)  # (H, W) of tokens
    inputs: bool = False  # whether the features are what the modules get, and not what they give

    @property
    def tokens(self) -> bool:
        """Whether the features are tokens, (B, N, D), and not maps."""
        return bool(self.widths)

    def to_map(self, features: Tensor) -> Tensor:
        """Features of one module as (B, C, H, W)."""
        return features.transpose(1, 2).unflatten(2, self.grid) if self.tokens else features

    def from_map(self, h: Tensor) -> Tensor:
        """The reverse of ``to_map``."""
        return h.flatten(2).transpose(1, 2) if self.tokens else h


MID_BLOCK = Site()


def site_of(transformer: Any, grid: tuple[int, int], name: str | None = None) -> Site:  # noqa: ANN401 (diffusers' classes)
    """The site ``heads:K+…`` or ``block:K+…`` of a transformer with a (H, W) ``grid`` of tokens.

    By default behind the middle block. Raises UserError: no such site, or no such block.
    """
    count = len(transformer.transformer_blocks)
    name = f"block:{(count - 1) // 2}" if name is None else name
    kind, _, places = name.partition(":")
    blocks = [int(one) for one in places.split("+")] if re.fullmatch(r"(heads|block):\d+(\+\d+)*", name) else []
    if not blocks or blocks != sorted(set(blocks)) or blocks[-1] >= count:
        example = f"heads:{count // 2}, block:{count // 2} or heads:0+{count - 1}"
        raise UserError(f"expected a site like {example} (of {count} blocks), got {name!r}")
    inner = transformer.transformer_blocks[0]
    attention = next(one for one in _ATTENTIONS if getattr(inner, one, None) is not None)
    ends = f".{attention}.to_out.0"
    widths = tuple(int(transformer.get_submodule(f"transformer_blocks.{k}{ends}").in_features) for k in blocks)
    modules = tuple(f"transformer_blocks.{k}{ends if kind == 'heads' else ''}" for k in blocks)
    return Site(name, modules, widths, grid, inputs=kind == "heads")


def joined(maps: list[Tensor]) -> Tensor:
    """One map (B, C, H, W) of those of a site's modules."""
    return maps[0] if len(maps) == 1 else torch.cat(maps, dim=1)
