"""Seeds depend on what they are for and on nothing else."""

from __future__ import annotations

import hashlib

import torch

from hspace_exp.io.seeding import generator, initial_noise, seed_of


def test_seed_is_63_bits_of_sha256() -> None:
    value = int(hashlib.sha256(b"a\x1f1").hexdigest(), 16) >> 193
    assert seed_of("a", 1) == value < 2**63


def test_parts_do_not_run_into_each_other() -> None:
    assert len({seed_of("ab", 1), seed_of("a", "b1"), seed_of("ab1"), seed_of("a", "b", 1)}) == 4


def test_equal_parts_give_equal_streams() -> None:
    assert torch.equal(torch.rand(3, generator=generator("x", 2)), torch.rand(3, generator=generator("x", 2)))


def test_noise_differs_between_prompts_seeds_and_bases() -> None:
    noises = [initial_noise(p, i, (4, 8, 8), b) for p in ("a", "b") for i in (0, 1) for b in (0, 1)]
    assert all(n.shape == (4, 8, 8) and n.dtype == torch.float32 for n in noises)
    assert all(not torch.equal(a, b) for i, a in enumerate(noises) for b in noises[:i])
    assert abs(torch.stack(noises).mean().item()) < 0.1
    assert torch.equal(initial_noise("a", 0, (4, 8, 8)), noises[0])
