"""What makes a frozen U-Net faster, or smaller, without changing what it computes: contexts that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from hspace_exp.models.blocks import checkpoint_second_half, compile_blocks, uncompile_blocks

# Seconds that must be left to compile the blocks that a step needs.
COMPILING = 100.0


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


@contextmanager
def compiled(unet: Any, backend: str = "inductor", mode: str | None = None) -> Iterator[None]:  # noqa: ANN401
    """As ``model.compile=true``: each block is compiled for the shapes that it meets."""
    compile_blocks(unet, backend, mode)
    try:
        yield
    finally:
        uncompile_blocks(unet)
        torch._dynamo.reset()
