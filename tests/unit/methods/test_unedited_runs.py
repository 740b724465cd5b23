"""Unedited runs that are kept for further edits of the same noises."""

from __future__ import annotations

import torch

from hspace_exp.methods.steering import Application, Run, UneditedRuns
from hspace_exp.prompts.plan import Item


class Sampler:
    """Makes guided runs of two steps, samples with numbers of their own, 192 bytes of h each, and counts them."""

    def __init__(self) -> None:
        """None so far."""
        self.made = 0

    def __call__(self, *seeds: int) -> Run:
        """Another run of these seeds: h of its unconditional half is negative."""
        self.made += 1
        of = torch.tensor(seeds, dtype=torch.float32)
        states = [torch.cat([-of, of]).view(-1, 1, 1, 1).expand(-1, 3, 2, 2) + step for step in (0.0, 0.5)]
        return of[:, None], states, [None, of.view(-1, 1, 1, 1) / 8]


def batch(*seeds: int, prompt: str = "a photo of a nurse", target: str = "female") -> list[Item]:
    return [Item(prompt, "nurse", seed, target) for seed in seeds]


def test_a_run_is_made_once_whatever_is_asked_for() -> None:
    runs, sample = UneditedRuns(), Sampler()
    first = runs(batch(5, 6), lambda: sample(5, 6))
    assert torch.equal(runs(batch(5, 6, target="male"), lambda: sample(5, 6))[0], first[0])
    assert sample.made == 1
    runs(batch(5, 6, prompt="a photo of a cook"), lambda: sample(5, 6))
    assert (sample.made, runs.taken) == (2, 2 * 2 * 2 * 2 * 48)


def test_a_batch_is_put_together_from_the_runs_of_its_samples() -> None:
    runs, sample = UneditedRuns(), Sampler()
    runs(batch(5, 6, 7), lambda: sample(5, 6, 7))
    runs(batch(8, 9), lambda: sample(8, 9))
    for seeds in ((9, 5, 7), (5,), (6, 5, 7), (5, 6)):
        (latents, states, gates), (own, h, opened) = runs(batch(*seeds), Sampler()), Sampler()(*seeds)
        assert torch.equal(latents, own)
        assert all(map(torch.equal, states, h))
        assert gates is not None
        assert opened is not None
        assert gates[0] is None
        assert torch.equal(gates[1], opened[1])
    assert sample.made == 2
    runs(batch(5, 10), lambda: sample(5, 10))  # of which one sample is new
    assert sample.made == 3


def test_no_more_than_the_limit_is_kept() -> None:
    runs, sample = UneditedRuns(most=400), Sampler()
    for _ in range(2):
        for seed in range(3):
            runs(batch(seed), lambda: sample(seed))  # noqa: B023
    assert sample.made == 4  # the third was made twice, as two fill 384 of 400 bytes
    assert (runs.taken, len(runs.kept), runs.full) == (384, 2, True)


def test_what_fits_to_the_byte_is_kept_and_not_counted_again() -> None:
    runs, sample = UneditedRuns(most=384), Sampler()
    for seed in (0, 1, 1, 0):
        runs(batch(seed), lambda: sample(seed))  # noqa: B023
    assert (sample.made, runs.taken, runs.full) == (2, 384, False)


def test_an_edit_keeps_nothing_unless_told() -> None:
    runs, sample = Application({}, {}, 1.0, "both").runs, Sampler()
    for _ in range(2):
        runs(batch(0), lambda: sample(0))
    assert (sample.made, runs.kept) == (2, {})
