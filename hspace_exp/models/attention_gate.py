"""Where in h an attribute shows: a soft gate from the U-Net's own cross-attention, made while the model runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.models.attention import by_head, cross_attention_modules, visited_cross_attention

if TYPE_CHECKING:
    from diffusers.models.attention_processor import Attention


def soft_gate(heat: Tensor, threshold: float) -> Tensor:
    """G = min(1, max_k (heat_k / max_xy heat_k) / threshold): the largest of K heats, each relative to its own peak.

    Of (B, K, H, W) heat of any positive scale, (B, 1, H, W) in [0, 1]. The threshold, in (0, 1], is the share of the
    peak at which the gate is fully open; below it is proportional.
    """
    relative = heat / heat.amax((-2, -1), keepdim=True)
    return (relative.amax(1, keepdim=True) / threshold).clamp(max=1)


@dataclass
class AttentionGate:
    """``soft_gate`` of the attention that the words of K concepts would get from an image whose prompt lacks them.

    The image's queries meet the text features of each concept's own prompt ("a photo of a woman"). What its words
    ("woman") get is averaged over heads, and summed over the layers before h and over the steps so far.
    """

    states: Tensor  # (K, L, D) text features of the concepts' prompts
    words: Tensor  # (K, L) bool, the tokens of the concepts' words, see ``Backbone.word_mask``
    rows: Tensor  # (B,) row of each sample's unedited run in the batch, which the gate is read from
    size: tuple[int, int]  # (H, W) of h
    threshold: float = 0.3  # of the gate, in (0, 1]
    keep: Tensor | None = None  # (K, L) bool, tokens that the model reads, see ``PromptEmbeds.read``; None: all
    heat: Tensor | None = field(default=None, init=False)  # (B, K, H, W), the sum so far
    modules: list[tuple[str, Attention]] = field(default_factory=list, init=False)  # read, found when it opens first
    # Module → keys (heads, d, K L) of all prompts, scaled: no step changes them.
    _keys: dict[Attention, Tensor] = field(default_factory=dict, init=False)

    def add(self, module: Attention, queries: Tensor, grid: tuple[int, int]) -> None:
        """Add the heat of one module with queries (rows, N, D') on a grid of N places."""
        if module not in self._keys:
            self.words, self.rows = self.words.to(queries.device), self.rows.to(queries.device)
            keys = by_head(module, module.to_k(self.states.to(queries))) * module.scale  # (K, heads, L, d)
            self._keys[module] = keys.permute(1, 3, 0, 2).flatten(2)
        query = by_head(module, module.to_q(queries[self.rows]))
        logits = (query @ self._keys[module]).unflatten(-1, self.words.shape)
        shares = (logits if self.keep is None else logits.masked_fill(~self.keep, float("-inf"))).softmax(-1)
        heats = (shares.mean(1) * self.words).sum(-1).transpose(1, 2)  # of each word alike: peaks are relative
        heat = F.adaptive_avg_pool2d(heats.unflatten(-1, grid), self.size)
        self.heat = heat if self.heat is None else self.heat + heat

    def __call__(self) -> Tensor:
        """The gate (B, 1, H, W) in [0, 1] as of now."""
        if self.heat is None:
            raise UserError("the attention gate has seen no cross-attention before h: this U-Net has none there")
        return soft_gate(self.heat, self.threshold)


@contextmanager
def open_attention_gate(unet: torch.nn.Module, gate: AttentionGate | None) -> Iterator[None]:
    """Let ``gate``, if any, add up every forward pass inside the context; the U-Net's output stays, to the bit."""
    if gate is None:
        yield
        return

    def visit(module: Attention, queries: Tensor, context: Tensor, output: Tensor, grid: tuple[int, int]) -> None:
        with torch.no_grad():
            gate.add(module, queries, grid)

    gate.modules = gate.modules or cross_attention_modules(unet, "before_h")
    with visited_cross_attention(unet, gate.modules, visit):
        yield
