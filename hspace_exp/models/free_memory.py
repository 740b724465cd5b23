"""How much memory a device has left for what may be kept, but need not be."""

from __future__ import annotations

import torch


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
