"""Unedited runs that are kept for further edits of the same noises."""

from __future__ import annotations

import torch
from torch import Tensor

from hspace_exp.methods.steering import Application, UneditedRuns
from hspace_exp.prompts.plan import Item

Run = tuple[Tensor, list[Tensor], None]


class Sampler:
    """Makes runs of two steps, 2 x 48 bytes of h, and counts them."""

    def __init__(self) -> None:
        """None so far."""
        self.made = 0

    def __call__(self) -> Run:
        """Another run."""
        self.made += 1
        return torch.full((1, 4), float(self.made)), [torch.zeros(1, 3, 2, 2)] * 2, None


def batch(*seeds: int, prompt: str = "a photo of a nurse", target: str = "female") -> list[Item]:
    return [Item(prompt, "nurse", seed, target) for seed in seeds]


def test_a_run_is_made_once_whatever_is_asked_for() -> None:
    runs, sample = UneditedRuns(), Sampler()
    first = runs(batch(0, 1), sample)
    assert runs(batch(0, 1, target="male"), sample) is first
    assert sample.made == 1
    for other in (batch(1, 0), batch(0), batch(0, 1, prompt="a photo of a cook")):
        assert runs(other, sample) is not first
    assert (sample.made, runs.taken) == (4, 4 * 96)


def test_no_more_than_the_limit_is_kept() -> None:
    runs, sample = UneditedRuns(most=200), Sampler()
    for _ in range(2):
        latents = [int(runs(batch(seed), sample)[0][0, 0]) for seed in range(3)]
        assert latents[:2] == [1, 2]
    assert latents[2] == 4  # the third was made twice, as two fill 192 of 200 bytes
    assert (runs.taken, len(runs.kept)) == (192, 2)


def test_what_fits_to_the_byte_is_kept_and_not_counted_again() -> None:
    runs, sample = UneditedRuns(most=192), Sampler()
    for seed in (0, 1, 1, 0):
        runs(batch(seed), sample)
    assert (sample.made, runs.taken) == (2, 192)


def test_an_edit_keeps_nothing_unless_told() -> None:
    runs, sample = Application({}, {}, 1.0, "both").runs, Sampler()
    for _ in range(2):
        runs(batch(0), sample)
    assert (sample.made, runs.kept) == (2, {})
