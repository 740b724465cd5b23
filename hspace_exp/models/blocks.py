"""How a frozen U-Net's blocks run: computed twice to save memory, or compiled for speed; hooks keep working."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from hspace_exp.models.sites import is_transformer

# Blocks of a class share their code, and each has shapes of its own; PyTorch's limit of 8 would leave most as they are.
RECOMPILATIONS = 64
_HOOKS = tuple(f"_forward_{kind}{ending}" for kind in ("hooks", "pre_hooks") for ending in ("", "_with_kwargs"))


def checkpoint_second_half(unet: Any) -> None:
    """Keep only the inputs of each residual and transformer block behind h (Chen et al., 2016).

    What lies before h needs no gradient and keeps nothing anyway. Gradients are the same; hooks that were there in the
    forward pass, such as those that suppress cross-attention, are there again when it is repeated.
    """
    unet.enable_gradient_checkpointing(_checkpointed)
    for part in () if is_transformer(unet) else (*unet.down_blocks, unet.mid_block):
        for module in part.modules():
            if hasattr(module, "gradient_checkpointing"):
                module.gradient_checkpointing = False


def _checkpointed(module: nn.Module, *args: Any) -> Any:
    hooked = [inner for inner in module.modules() if inner._forward_hooks or inner._forward_pre_hooks]
    then = [{name: vars(inner)[name].copy() for name in _HOOKS} for inner in hooked]
    return checkpoint(
        module, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), _hooked_again(hooked, then))
    )


@contextmanager
def _hooked_again(hooked: Sequence[nn.Module], then: Sequence[dict[str, Any]]) -> Iterator[None]:
    now = [{name: vars(inner)[name] for name in _HOOKS} for inner in hooked]
    try:
        for inner, hooks in zip(hooked, then, strict=True):
            vars(inner).update(hooks)
        yield
    finally:
        for inner, hooks in zip(hooked, now, strict=True):
            vars(inner).update(hooks)


def parts(unet: Any) -> list[nn.Module]:
    """What is compiled piece by piece: the blocks, and what is inside the middle one.

    Hooks on blocks, and so edits of h, stay outside of what is compiled. Of a block that is computed twice
    (``checkpoint_second_half``) the pieces that are kept or repeated as a whole are compiled.
    """
    if is_transformer(unet):
        return list(unet.transformer_blocks)
    found: list[nn.Module] = []
    for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
        if block is not unet.mid_block and not getattr(block, "gradient_checkpointing", False):
            found.append(block)
            continue
        found += block.resnets
        for attention in getattr(block, "attentions", ()):
            if attention is not None:
                twice = getattr(attention, "gradient_checkpointing", False)
                found += attention.transformer_blocks if twice else [attention]
    return found


def compile_blocks(unet: Any, backend: str = "inductor", mode: str | None = None) -> None:
    """Compile each part's ``forward`` for the shapes that it meets, at the first call with each.

    Compiled code neither sees hooks that come later nor forgets those it was made with. So a part runs as it is while
    anything inside it is hooked, as by masks from attention, chi and gates; the other parts stay compiled.
    ``backend`` and ``mode`` are those of ``torch.compile``; checkpointing is set before.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, RECOMPILATIONS)
    uncompile_blocks(unet)
    for part in parts(unet):
        _forward_of(part, torch.compile(part.forward, backend=backend, mode=mode, dynamic=False))


def uncompile_blocks(unet: Any) -> None:
    """Undo ``compile_blocks``."""
    for module in unet.modules():
        module.__dict__.pop("forward", None)


def _forward_of(part: Any, compiled: Callable[..., Any]) -> None:
    """Let ``part`` run ``compiled`` unless something inside it is hooked; its class, weights and names stay."""
    plain, inner = part.forward, [module for module in part.modules() if module is not part]

    def forward(*args: Any, **kwargs: Any) -> Any:
        hooked = any(module._forward_hooks or module._forward_pre_hooks for module in inner)
        return (plain if hooked else compiled)(*args, **kwargs)

    part.forward = forward
