"""CLIP alignment."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.evaluation.functional.alignment import clip_alignment


def test_is_one_hundred_times_the_cosine() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 7)), rng.normal(size=(5, 7))
    expected = [100 * x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
    found = clip_alignment(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(found.numpy(), expected)
    assert torch.allclose(clip_alignment(torch.from_numpy(a) * 9, torch.from_numpy(b)), found)


def test_needs_one_text_an_image() -> None:
    with pytest.raises(UserError, match="one text an image"):
        clip_alignment(torch.ones(2, 3), torch.ones(1, 3))
