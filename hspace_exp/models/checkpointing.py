"""Training in little memory: what lies behind h is computed again for the gradient instead of being kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpoint_second_half(unet: Any) -> None:
    """Keep only the inputs of each residual and transformer block behind h (Chen et al., 2016).

    What lies before h needs no gradient and keeps nothing anyway. Gradients are the same; hooks that were there in the
    forward pass, such as those that suppress cross-attention, are there again when it is repeated.
    """
    unet.enable_gradient_checkpointing(_checkpointed)
    for part in (*unet.down_blocks, unet.mid_block):
        for module in part.modules():
            if hasattr(module, "gradient_checkpointing"):
                module.gradient_checkpointing = False


def _checkpointed(module: nn.Module, *args: Any) -> Any:
    hooked = [
        (inner, inner._forward_hooks.copy(), inner._forward_hooks_with_kwargs.copy())
        for inner in module.modules()
        if inner._forward_hooks
    ]

    def forward(*inputs: Any) -> Any:
        with ExitStack() as hooks:
            for inner, functions, with_kwargs in hooked:
                hooks.enter_context(_hooked_again(inner, functions, with_kwargs))
            return module(*inputs)

    return checkpoint(forward, *args, use_reentrant=False)


@contextmanager
def _hooked_again(module: nn.Module, functions: Any, with_kwargs: Any) -> Iterator[None]:
    now = module._forward_hooks, module._forward_hooks_with_kwargs
    module._forward_hooks, module._forward_hooks_with_kwargs = functions, with_kwargs
    try:
        yield
    finally:
        module._forward_hooks, module._forward_hooks_with_kwargs = now
