"""What makes a frozen U-Net faster, or smaller, without changing what it computes: contexts that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from hspace_exp.models.checkpointing import checkpoint_second_half


@contextmanager
def channels_last(unet: nn.Module) -> Iterator[None]:
    """Convolution weights in NHWC, the layout that matrix units want; activations follow."""
    unet.to(memory_format=torch.channels_last)
    try:
        yield
    finally:
        unet.to(memory_format=torch.contiguous_format)


@contextmanager
def checkpointing(unet: Any) -> Iterator[None]:  # noqa: ANN401 (a diffusers class)
    """As ``model.checkpointing=true``: less memory, and the second half is run twice."""
    checkpoint_second_half(unet)
    try:
        yield
    finally:
        unet.disable_gradient_checkpointing()


@contextmanager
def cudnn_attention() -> Iterator[None]:
    """Let cuDNN's fused attention go first where it can."""
    order = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    with sdpa_kernel(order, set_priority=True):
        yield


def parts(unet: Any) -> list[nn.Module]:  # noqa: ANN401 (a diffusers class)
    """What is compiled piece by piece: the blocks, and what is inside the middle one.

    Hooks on blocks, and so edits of h, stay outside of what is compiled.
    """
    middle = [module for module in (*unet.mid_block.resnets, *unet.mid_block.attentions) if module is not None]
    return [*unet.down_blocks, *middle, *unet.up_blocks]


@contextmanager
def compiled(unet: Any, backend: str = "inductor", mode: str | None = None) -> Iterator[None]:  # noqa: ANN401
    """``torch.compile`` each part's ``forward`` for the shapes that it meets."""
    limit, blocks = torch._dynamo.config.recompile_limit, parts(unet)
    torch._dynamo.config.recompile_limit = 64  # blocks of a class share their code, and each has shapes of its own
    try:
        for block in blocks:
            block.forward = torch.compile(block.forward, backend=backend, mode=mode, dynamic=False)
        yield
    finally:
        for block in blocks:
            block.__dict__.pop("forward", None)
        torch._dynamo.config.recompile_limit = limit
        torch._dynamo.reset()
