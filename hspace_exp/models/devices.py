"""Where a model computes, in which number type, and how much memory is left there."""

from __future__ import annotations

import torch

from hspace_exp.errors import UserError, unknown

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(device: str) -> torch.device:
    """``auto`` is CUDA where there is one, then MPS, then the CPU; anything else must be a device of this machine."""
    if device == "auto":
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        where = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"expected a device such as auto, cpu, cuda or cuda:1, got {device!r}") from error
    if where.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device {device!r} asked for, but PyTorch sees no CUDA device here: use device=auto or cpu")
    return where


def resolve_dtype(dtype: str, big: bool) -> torch.dtype:
    """The type for the U-Net: ``auto`` is float32, but bfloat16 for big models on CUDA."""
    if dtype == "auto":
        return torch.bfloat16 if big else torch.float32
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, ["auto", *DTYPES])
    return DTYPES[dtype]


def free_bytes(device: torch.device) -> int | None:
    """Bytes that tensors may still take, blocks that PyTorch holds unused included; None where that is not known.

    A limit set for this process (``torch.cuda.set_per_process_memory_fraction``) counts.
    """
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    used = torch.cuda.memory_allocated(device)
    left = free + torch.cuda.memory_reserved(device) - used
    if hasattr(torch.cuda, "get_per_process_memory_fraction"):  # not in every version
        left = min(left, int(torch.cuda.get_per_process_memory_fraction(device) * total) - used)
    return max(0, left)
