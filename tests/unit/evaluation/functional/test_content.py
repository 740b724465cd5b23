"""Alignment with texts, and what an edit left alone."""

from __future__ import annotations

import numpy as np
import torch

from hspace_exp.evaluation.functional.content import any_changed, clip_alignment


def test_is_one_hundred_times_the_cosine() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 7)), rng.normal(size=(5, 7))
    expected = [100 * x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
    found = clip_alignment(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(found.numpy(), expected)
    assert torch.allclose(clip_alignment(torch.from_numpy(a) * 9, torch.from_numpy(b)), found)


def test_any_attribute_counts() -> None:
    before = {"age": torch.tensor([0, 0, 1, 1]), "scene": torch.tensor([3, 4, 5, 6])}
    after = {"age": torch.tensor([0, 1, 1, 0]), "scene": torch.tensor([3, 4, 9, 9])}
    assert any_changed(before, after).tolist() == [False, True, True, True]
    assert not any_changed(before, before).any()


def test_a_change_to_the_first_class_counts_and_what_is_unclear_does_not() -> None:
    before, after = torch.tensor([1, 0, -1, 1, 0]), torch.tensor([0, 1, 0, -1, 0])
    assert any_changed({"age": before}, {"age": after}).tolist() == [True, True, False, False, False]
