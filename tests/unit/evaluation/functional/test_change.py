"""Where edits act, how concepts relate, and what compositions show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from hspace_exp.errors import UserError
from hspace_exp.evaluation.functional.change import change_share, cosine_matrix, joint_share

RNG = np.random.default_rng(0)


def test_share_of_change_by_hand() -> None:
    a = torch.zeros(3, 3, 4, 4)
    b = a.clone()
    b[0, :, 0, 0] = 0.5  # inside
    b[0, 0, 3, 3] = 0.5  # outside, one channel of three
    b[1, :, 3, 3] = 0.2
    mask = torch.zeros(3, 1, 4, 4, dtype=torch.bool)
    mask[:, :, :2, :2] = True
    found = change_share(a, b, mask)
    assert found[:2].tolist() == pytest.approx([0.75, 0])
    assert found[2].isnan()
    assert torch.equal(change_share(b, a, mask)[:2], found[:2])


def test_change_without_a_place_gives_the_area() -> None:
    a, b = (torch.from_numpy(RNG.random((1, 3, 64, 64))) for _ in range(2))
    mask = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    mask[..., :16] = True
    assert change_share(a, b, mask).item() == pytest.approx(0.25, abs=0.01)


def test_cosines_agree_with_scipy() -> None:
    vectors = RNG.normal(size=(4, 30))
    assert np.allclose(cosine_matrix(torch.from_numpy(vectors)).numpy(), 1 - cdist(vectors, vectors, "cosine"))
    with pytest.raises(UserError, match="zero vector"):
        cosine_matrix(torch.zeros(2, 3))


def test_compositions_need_everything_at_once() -> None:
    each, everything = joint_share(torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1]]).bool())
    assert each.tolist() == [0.75, 0.75]
    assert everything.item() == 0.5
    independent = torch.from_numpy(RNG.random((20_000, 2)) < [0.8, 0.6])
    assert joint_share(independent)[1].item() == pytest.approx(0.48, abs=0.02)
    with pytest.raises(UserError, match="images, things asked for"):
        joint_share(torch.tensor([True]))
