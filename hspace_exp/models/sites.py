"""Where a vector acts: behind a U-Net's middle block, or in the attention heads of some blocks of a transformer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hspace_exp.errors import UserError

# Attention of the image's tokens in a transformer's block that reads the text: by itself, or jointly with the image.
_ATTENTIONS = ("attn2", "attn")


@dataclass(frozen=True)
class Site:
    """Features of a network that vectors are added to, as maps (B, C, H, W).

    At ``mid_block`` they are the output of a U-Net's middle block. At ``heads:K`` they are what the output projection
    of attention gets in a transformer's block K: the heads of the image's tokens side by side, (B, N, heads d), of
    which N = H W tokens are the places of a map. Maps of several blocks, ``heads:K+L``, lie side by side along C.
    """

    name: str = "mid_block"
    modules: tuple[str, ...] = ("mid_block",)  # dotted names, in the order in which they run
    widths: tuple[int, ...] = ()  # channels of each where there are tokens; none: it is a map already
    grid: tuple[int, int] = (0, 0)  # (H, W) of tokens

    @property
    def tokens(self) -> bool:
        """Whether the features are what modules get, (B, N, D), and not the maps that they give."""
        return bool(self.widths)

    def to_map(self, features: Tensor) -> Tensor:
        """Features of one module as (B, C, H, W)."""
        return features.transpose(1, 2).unflatten(2, self.grid) if self.tokens else features

    def from_map(self, h: Tensor) -> Tensor:
        """The reverse of ``to_map``."""
        return h.flatten(2).transpose(1, 2) if self.tokens else h


MID_BLOCK = Site()


def heads_of(transformer: Any, grid: tuple[int, int], name: str | None = None) -> Site:  # noqa: ANN401 (diffusers' classes)
    """The site ``heads:K+…`` of a transformer with a (H, W) ``grid`` of tokens; by default of the middle block.

    Raises UserError: no such site, or no such block.
    """
    count = len(transformer.transformer_blocks)
    name = f"heads:{count // 2}" if name is None else name
    blocks = (
        [int(one) for one in name.removeprefix("heads:").split("+")] if re.fullmatch(r"heads:\d+(\+\d+)*", name) else []
    )
    if not blocks or blocks != sorted(set(blocks)) or blocks[-1] >= count:
        raise UserError(
            f"expected a site like heads:{count // 2} or heads:0+{count - 1} (of {count} blocks), got {name!r}"
        )
    inner = transformer.transformer_blocks[0]
    attention = next(one for one in _ATTENTIONS if getattr(inner, one, None) is not None)
    modules = tuple(f"transformer_blocks.{block}.{attention}.to_out.0" for block in blocks)
    widths = tuple(int(transformer.get_submodule(one).in_features) for one in modules)
    return Site(name, modules, widths, grid)


def joined(maps: list[Tensor]) -> Tensor:
    """One map (B, C, H, W) of those of a site's modules."""
    return maps[0] if len(maps) == 1 else torch.cat(maps, dim=1)
