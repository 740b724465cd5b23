"""Attention weights computed explicitly, and the margin between what a prompt and an attribute get of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor

from hspace_exp.errors import UserError


def attention_probabilities(module: Attention, queries: Tensor, context: Tensor, keep: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d)) of one attention module, computed explicitly.

    Args:
        module: the attention module.
        queries: (B, N, D) input of the queries.
        context: (B, L, D') text features.
        keep: (B, L) bool; tokens left out of the softmax are False.

    Returns:
        (B, heads, N, L) float32, rows sum to 1.
    """
    if module.norm_cross:
        context = module.norm_encoder_hidden_states(context)
    query, key = module.to_q(queries), module.to_k(context)
    query, key = (x.unflatten(-1, (module.heads, -1)).transpose(1, 2) for x in (query, key))
    if module.norm_q is not None:
        query = module.norm_q(query)
    if module.norm_k is not None:
        key = module.norm_k(key)
    logits = (query.float() @ key.float().transpose(-1, -2)) * module.scale
    if keep is not None:
        logits = logits.masked_fill(~keep[:, None, None, :], float("-inf"))
    return logits.softmax(dim=-1)


def token_mean(probabilities: Tensor, mask: Tensor) -> Tensor:
    """Mean over heads and over the tokens in ``mask``: (B, heads, N, L), (B, L) -> (B, N)."""
    weights = mask.float() / mask.sum(-1, keepdim=True).clamp(min=1)
    return (probabilities.mean(1) * weights[:, None, :]).sum(-1)


@dataclass(frozen=True)
class AttentionMargin:
    """chi of Shokrolahi et al. (2026) from attention itself, at each module's own resolution.

    delta = a_psi / (a_psi + a_T), with a_* the attention per content token, mean over heads, under one joint softmax
    of the same queries over the content tokens of the prompt psi and of the target attribute T; chi = [delta >= tau].

    Attributes:
        prompt_mask: (B, L) bool, content tokens of psi, the prompt that the U-Net is given.
        target_states: (B, L', D) text features of T.
        target_mask: (B, L') bool, content tokens of T.
        threshold: tau in [0, 1].
    """

    prompt_mask: Tensor
    target_states: Tensor
    target_mask: Tensor
    threshold: float = 0.5

    def __post_init__(self) -> None:
        """Check that there is something to compare."""
        if not 0 <= self.threshold <= 1:
            raise UserError(f"expected a threshold tau in [0, 1], got {self.threshold}")
        if not (self.prompt_mask.any(-1).all() and self.target_mask.any(-1).all()):
            raise UserError("attention margins need content words in both the prompt and the attribute: one is empty")

    def margin(self, module: Attention, queries: Tensor, context: Tensor) -> Tensor:
        """(B, N) delta in [0, 1] of one module."""
        target = self.target_states.to(context.device, context.dtype)
        masks = [self.prompt_mask.to(context.device), self.target_mask.to(context.device)]
        keep = torch.cat(masks, dim=1)
        probabilities = attention_probabilities(module, queries, torch.cat([context, target], dim=1), keep)
        length = context.shape[1]
        prompt = token_mean(probabilities[..., :length], masks[0])
        attribute = token_mean(probabilities[..., length:], masks[1])
        return prompt / (prompt + attribute).clamp(min=torch.finfo(prompt.dtype).tiny)

    def chi(self, module: Attention, queries: Tensor, context: Tensor) -> Tensor:
        """(B, N) of zeros and ones."""
        with torch.no_grad():
            return (self.margin(module, queries, context) >= self.threshold).to(queries.dtype)
