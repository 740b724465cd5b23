"""Read and suppress the U-Net's cross-attention (attn2) by hooks; the fused kernels stay in use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from hspace_exp.errors import UserError, unknown
from hspace_exp.masks.maps import max_pool_map
from hspace_exp.models.attention_margin import AttentionMargin, attention_probabilities, token_mean

__all__ = [
    "AttentionMargin",
    "AttentionRecord",
    "cross_attention_modules",
    "record_cross_attention",
    "suppress_cross_attention",
    "token_grid",
    "visited_cross_attention",
]

SCOPES = ("final", "encoder", "before_h", "all")
# (module, its queries' input, the text features, its output, (height, width) of its grid) -> new output or None
Visit = Callable[[Attention, Tensor, Tensor, Tensor, tuple[int, int]], Tensor | None]


def cross_attention_modules(unet: nn.Module, scope: str = "all") -> list[tuple[str, Attention]]:
    """The attn2 modules of a scope, by name.

    ``final`` is the encoder's last one; ``before_h`` are those of the encoder and the middle block.
    """
    if scope not in SCOPES:
        raise unknown("attention scope", scope, SCOPES)
    modules = [(n, m) for n, m in unet.named_modules() if n.split(".")[-1] == "attn2" and isinstance(m, Attention)]
    if scope != "all":
        parts = ("down_blocks.", "mid_block.") if scope == "before_h" else ("down_blocks.",)
        modules = [(n, m) for n, m in modules if n.startswith(parts)]
    if not modules:
        raise UserError(f"this U-Net has no cross-attention in scope {scope!r}: use another scope, or switch chi off")
    return modules[-1:] if scope == "final" else modules


def token_grid(tokens: int, latent_size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a module that sees ``tokens`` positions of latents halved some number of times."""
    height, width = latent_size
    while height * width > tokens:
        height, width = -(-height // 2), -(-width // 2)
    if height * width != tokens:
        raise UserError(f"{tokens} attention positions do not come from halving latents of size {latent_size}")
    return height, width


@contextmanager
def visited_cross_attention(unet: nn.Module, scope: str, visit: Visit) -> Iterator[None]:
    """Call ``visit`` after every attn2 of the scope in each forward pass inside the context."""
    latent_size = [0, 0]

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        latent_size[:] = (args[0] if args else kwargs["sample"]).shape[-2:]

    def after(module: Attention, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor | None:
        queries = args[0] if args else kwargs["hidden_states"]
        context = args[1] if len(args) > 1 else kwargs["encoder_hidden_states"]
        height, width = latent_size
        return visit(module, queries, context, output, token_grid(queries.shape[1], (height, width)))

    with ExitStack() as hooks:
        hooks.callback(unet.register_forward_pre_hook(before, with_kwargs=True).remove)
        for _, module in cross_attention_modules(unet, scope):
            hooks.callback(module.register_forward_hook(after, with_kwargs=True).remove)
        yield


@dataclass
class AttentionRecord:
    """Attention that chosen tokens got, summed by resolution over layers and forward passes."""

    sums: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    count: int = 0

    def add(self, attention: Tensor, grid: tuple[int, int]) -> None:
        """Add (B, N) of one layer."""
        plane = attention.unflatten(1, grid)[:, None]
        self.sums[grid] = self.sums[grid] + plane if grid in self.sums else plane
        self.count += 1

    def heatmap(self, size: tuple[int, int] | None = None) -> Tensor:
        """(B, 1, h, w) mean over layers and passes, at the finest recorded resolution unless ``size`` is given.

        Follows DAAM (Tang et al., 2023); see ``masks.attention.normalise`` for maps in [0, 1].
        """
        if not self.count:
            raise UserError("no cross-attention was recorded: run the U-Net inside record_cross_attention first")
        height, width = size or max(self.sums)
        planes = [
            F.interpolate(plane, (height, width), mode="bilinear", align_corners=False) for plane in self.sums.values()
        ]
        return torch.stack(planes).sum(0) / self.count


@contextmanager
def record_cross_attention(
    unet: nn.Module, token_mask: Tensor, *, guided: bool = False, scope: str = "all"
) -> Iterator[AttentionRecord]:
    """Record how much attention the tokens in ``token_mask`` get; the U-Net's output is not changed by a bit.

    Args:
        unet: the U-Net.
        token_mask: (B, L) bool, for instance ``Backbone.word_mask`` of the attribute word of each prompt.
        guided: batches are laid out [unconditional; conditional]; only the conditional half is recorded.
        scope: which modules.
    """
    record = AttentionRecord()

    def visit(module: Attention, queries: Tensor, context: Tensor, output: Tensor, grid: tuple[int, int]) -> None:
        rows = queries.shape[0] // 2 if guided else queries.shape[0]
        if token_mask.shape != (rows, context.shape[1]):
            expected = (rows, context.shape[1])
            raise UserError(f"expected a token mask of shape {expected}, got {tuple(token_mask.shape)}")
        with torch.no_grad():
            probabilities = attention_probabilities(module, queries[-rows:], context[-rows:])
            record.add(token_mean(probabilities, token_mask.to(queries.device)), grid)

    with visited_cross_attention(unet, scope, visit):
        yield record


@contextmanager
def suppress_cross_attention(unet: nn.Module, chi: Tensor | AttentionMargin, scope: str = "final") -> Iterator[None]:
    """Multiply the output of cross-attention by chi: after ``to_out``, before the residual.

    Args:
        unet: the U-Net.
        chi: (B, 1, H, W) map in [0, 1], 1 where attention is kept, e.g. 1 - M_T; it goes down to each module's
            resolution so that a suppressed pixel suppresses its whole cell (1 - max-pool of 1 - chi), as area averaging
            erases hair. Or an ``AttentionMargin``, which makes chi in each module from its own attention.
        scope: which modules: ``final`` (the encoder's last), ``encoder`` or ``all``.
    """

    def visit(module: Attention, queries: Tensor, context: Tensor, output: Tensor, grid: tuple[int, int]) -> Tensor:
        if isinstance(chi, AttentionMargin):
            return output * chi.chi(module, queries, context)[..., None]
        if chi.ndim != 4 or chi.shape[:2] != (output.shape[0], 1):
            raise UserError(f"expected chi of shape ({output.shape[0]}, 1, H, W), got {tuple(chi.shape)}")
        kept = 1 - max_pool_map(1 - chi.to(output.device, torch.float32), grid)
        return output * kept.flatten(2).transpose(1, 2).to(output.dtype)

    with visited_cross_attention(unet, scope, visit):
        yield
