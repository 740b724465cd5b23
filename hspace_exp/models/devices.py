"""Where a model computes, and how much memory is left there."""

from __future__ import annotations

import torch

from hspace_exp.errors import UserError


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


def free_bytes(device: torch.device) -> int | None:
    """Bytes that tensors may still take, blocks that PyTorch holds unused included; None where that is not known.

    A limit set for this process (``torch.cuda.set_per_process_memory_fraction``) counts.
    """
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    used = torch.cuda.memory_allocated(device)
    allowed = int(torch.cuda.get_per_process_memory_fraction(device) * total)
    return max(0, min(free + torch.cuda.memory_reserved(device), allowed) - used)
