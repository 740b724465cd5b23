"""Randomness keyed by what it is for, never by order, so that sharding, resuming and batch size change nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

# What noise is for. Noises of one domain are in no other, so that nothing is learnt from or tuned on what is reported.
REPORT, LEARNING, VALIDATION = "report", "learning", "validation"


def seed_of(*parts: str | int) -> int:
    """The first 63 bits of SHA-256 over the parts, joined by the unit separator."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") >> 1


def generator(*parts: str | int) -> torch.Generator:
    """A CPU generator seeded by ``parts``; equal parts give equal streams on every machine."""
    return torch.Generator().manual_seed(seed_of(*parts))


def initial_noise(
    prompt: str, seed_index: int, shape: Sequence[int], base_seed: int = 0, domain: str = REPORT
) -> torch.Tensor:
    """Standard normal latents of one image of a prompt, float32 on the CPU, of ``shape`` (C, H, W).

    ``base_seed`` shifts the whole set of seeds; ``domain`` is what the image is for.
    """
    own = () if domain == REPORT else (domain,)
    return torch.randn(tuple(shape), generator=generator("latents", *own, base_seed, prompt, seed_index))
