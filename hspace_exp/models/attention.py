"""Read and suppress the U-Net's cross-attention (attn2) by hooks; the fused kernels stay in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hspace_exp.errors import UserError
from hspace_exp.models.sites import FIRST, attends_jointly, is_transformer

if TYPE_CHECKING:
    from diffusers.models.attention_processor import Attention

# (module, its queries' input, the text features, its output, (height, width) of its grid) -> new output or None
Visit = Callable[["Attention", Tensor, Tensor, Tensor, tuple[int, int]], Tensor | None]


def cross_attention_modules(unet: nn.Module, scope: str = "all") -> list[tuple[str, Attention]]:
    """The attn2 modules of a scope, by name.

    Of ``all`` of them ``encoder`` are the first ones, ``final`` is the encoder's last, and ``before_h`` are those of
    the encoder and the middle block.
    """
    from diffusers.models.attention_processor import Attention  # seconds, which importing this need not take

    if attends_jointly(unet):
        raise UserError("image and text attend jointly here: use methods without gate and chi, e.g. focused_no_gate")
    modules = [(n, m) for n, m in unet.named_modules() if n.split(".")[-1] == "attn2" and isinstance(m, Attention)]
    if scope != "all" and is_transformer(unet):
        modules = modules[: len(modules) // 2]  # of a transformer: the blocks before the middle one
    elif scope != "all":
        parts = ("down_blocks.", "mid_block.") if scope == "before_h" else ("down_blocks.",)
        modules = [(n, m) for n, m in modules if n.startswith(parts)]
    if any(module.norm_q is not None for _, module in modules):
        raise UserError("this model normalises queries and keys of attention, which maps of attention do not follow")
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


def attention_probabilities(module: Attention, queries: Tensor, context: Tensor, keep: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d)) of one attention module, computed explicitly: (B, heads, N, L) float32, rows sum to 1.

    Of (B, N, D) inputs of the queries and (B, L, D') text features, of whose tokens the softmax leaves out those that
    are False in ``keep`` (B, L), where it is given.
    """
    query, key = by_head(module, module.to_q(queries)), by_head(module, module.to_k(context))
    logits = (query @ key.transpose(-1, -2)) * module.scale
    if keep is not None:
        logits = logits.masked_fill(~keep[:, None, None, :], float("-inf"))
    return logits.softmax(dim=-1)


def by_head(module: Attention, projected: Tensor) -> Tensor:
    """(B, N, heads * d) projections of one attention module as (B, heads, N, d) in float32."""
    return projected.unflatten(-1, (module.heads, -1)).transpose(1, 2).float()


def token_mean(probabilities: Tensor, mask: Tensor) -> Tensor:
    """Mean over heads and over the tokens in ``mask``: (B, heads, N, L), (B, L) -> (B, N)."""
    weights = mask.float() / mask.sum(-1, keepdim=True).clamp(min=1)
    return (probabilities.mean(1) * weights[:, None, :]).sum(-1)


@contextmanager
def visited_cross_attention(unet: nn.Module, modules: Iterable[tuple[str, Attention]], visit: Visit) -> Iterator[None]:
    """Call ``visit`` after each of these ``cross_attention_modules`` in every forward pass inside."""
    latent_size = [0, 0]

    def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        latent_size[:] = args[0].shape[-2:]

    def after(module: Attention, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor | None:
        queries = args[0] if args else kwargs["hidden_states"]
        context = args[1] if len(args) > 1 else kwargs["encoder_hidden_states"]
        height, width = latent_size
        return visit(module, queries, context, output, token_grid(queries.shape[1], (height, width)))

    with ExitStack() as hooks:
        first = next(module for name, module in unet.named_children() if name in FIRST)
        hooks.callback(first.register_forward_pre_hook(before).remove)
        for _, module in modules:
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

    def heatmap(self) -> Tensor:
        """(B, 1, h, w) mean over layers and passes, at the finest recorded resolution.

        Follows DAAM (Tang et al., 2023); see ``masks.attention.normalise`` for maps in [0, 1].
        """
        if not self.count:
            raise UserError("no cross-attention was recorded: run the U-Net inside record_cross_attention first")
        size = max(self.sums)
        planes = [F.interpolate(plane, size, mode="bilinear", align_corners=False) for plane in self.sums.values()]
        return torch.stack(planes).sum(0) / self.count


@contextmanager
def record_cross_attention(
    unet: nn.Module, token_mask: Tensor, *, keep: Tensor | None = None, guided: bool = False
) -> Iterator[AttentionRecord]:
    """Record how much attention the tokens in ``token_mask`` get; the U-Net's output is not changed by a bit.

    The mask is (B, L) bool, for instance ``Backbone.word_mask`` of the attribute word of each prompt, and ``keep``
    (B, L) what the model reads of the prompt, ``PromptEmbeds.read``; None: all. Of a ``guided`` batch, laid out
    [unconditional; conditional], only the conditional half is recorded.
    """
    record = AttentionRecord()

    def visit(module: Attention, queries: Tensor, context: Tensor, output: Tensor, grid: tuple[int, int]) -> None:
        rows = queries.shape[0] // 2 if guided else queries.shape[0]
        expected = (rows, context.shape[1])
        if token_mask.shape != expected:
            raise UserError(f"expected a token mask of shape {expected}, got {tuple(token_mask.shape)}")
        with torch.no_grad():
            probabilities = attention_probabilities(module, queries[-rows:], context[-rows:], keep)
            record.add(token_mean(probabilities, token_mask.to(queries.device)), grid)

    with visited_cross_attention(unet, cross_attention_modules(unet), visit):
        yield record


@dataclass(frozen=True)
class AttentionMargin:
    """chi of Shokrolahi et al. (2026) from attention itself, at each module's own resolution.

    delta = a_psi / (a_psi + a_T), with a_* the attention per content token, mean over heads, under one joint softmax
    of the same queries over the content tokens of the prompt psi and of the target attribute T; chi = [delta >= tau].
    """

    prompt_mask: Tensor  # (B, L) bool, content tokens of psi, the prompt that the U-Net is given
    target_states: Tensor  # (B, L', D) text features of T
    target_mask: Tensor  # (B, L') bool, content tokens of T
    threshold: float = 0.5  # tau in [0, 1]
    # whether each token's map is divided by its sum over positions first, so that delta says where and not how much
    placed: bool = False

    def __post_init__(self) -> None:
        """Check that there is something to compare."""
        if not (self.prompt_mask.any(-1).all() and self.target_mask.any(-1).all()):
            raise UserError("attention margins need content words in both the prompt and the attribute: one is empty")

    def margin(self, module: Attention, queries: Tensor, context: Tensor) -> Tensor:
        """(B, N) delta in [0, 1] of one module."""
        both = torch.cat([context, self.target_states.to(context)], dim=1)
        masks = [self.prompt_mask.to(context.device), self.target_mask.to(context.device)]
        probabilities = attention_probabilities(module, queries, both, keep=torch.cat(masks, dim=1))
        if self.placed:
            least = torch.finfo(probabilities.dtype).tiny
            probabilities = probabilities / probabilities.sum(2, keepdim=True).clamp(min=least)
        parts = probabilities.split([mask.shape[1] for mask in masks], dim=-1)
        prompt, attribute = map(token_mean, parts, masks)
        return prompt / (prompt + attribute).clamp(min=torch.finfo(prompt.dtype).tiny)


@contextmanager
def suppress_cross_attention(unet: nn.Module, chi: Tensor | AttentionMargin, scope: str = "final") -> Iterator[None]:
    """Multiply the output of a scope's cross-attention by chi: after ``to_out``, before the residual.

    Chi is a (B, 1, H, W) map in [0, 1], 1 where attention is kept, e.g. 1 - M_T; it goes down to each module's
    resolution so that a suppressed pixel suppresses its whole cell (1 - max-pool of 1 - chi), as area averaging erases
    hair. Or it is an ``AttentionMargin``, which makes chi in each module from its own attention.
    """

    def visit(module: Attention, queries: Tensor, context: Tensor, output: Tensor, grid: tuple[int, int]) -> Tensor:
        if isinstance(chi, AttentionMargin):
            with torch.no_grad():
                kept = chi.margin(module, queries, context) >= chi.threshold
            return output * kept[..., None].to(queries.dtype)
        if chi.ndim != 4 or chi.shape[:2] != (output.shape[0], 1):
            raise UserError(f"expected chi of shape ({output.shape[0]}, 1, H, W), got {tuple(chi.shape)}")
        share: Tensor = 1 - F.adaptive_max_pool2d(1 - chi.to(output.device, torch.float32), grid)
        return output * share.flatten(2).transpose(1, 2).to(output.dtype)

    with visited_cross_attention(unet, cross_attention_modules(unet, scope), visit):
        yield
