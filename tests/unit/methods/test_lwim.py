from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hspace_exp.methods.learning import denoising_loss
from hspace_exp.methods.lwim import L_w, W, m


def test_denoising_loss_is_the_weighted_mean_square_of_each_row() -> None:
    rng = np.random.default_rng(0)
    prediction, target = rng.normal(size=(2, 3, 4, 4, 4))
    weight = rng.uniform(size=(3, 1, 4, 4))
    expected = [np.mean(weight[i] * (target[i] - prediction[i]) ** 2) for i in range(3)]
    found = denoising_loss(torch.tensor(prediction), torch.tensor(target), torch.tensor(weight))
    np.testing.assert_allclose(found.numpy(), expected)


def test_an_empty_map_leaves_the_plain_loss() -> None:
    prediction, target = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    weight = W(torch.zeros(2, 1, 8, 8), 0.4)
    assert torch.equal(denoising_loss(prediction, target, weight), denoising_loss(prediction, target))


def test_weight_is_one_plus_beta_times_the_map() -> None:
    torch.testing.assert_close(W(torch.tensor([0.0, 0.5, 1.0]), 0.4), torch.tensor([1.0, 1.2, 1.4]))
    torch.testing.assert_close(W(torch.tensor([0.0, 0.5, 1.0]), 2.0, alpha=0.25), torch.tensor([0.25, 1.25, 2.25]))


def test_with_alpha_zero_errors_count_where_the_attribute_shows_and_nowhere_else() -> None:
    error = torch.zeros(2, 3, 4, 4)
    error[0, :, 0, 0], error[1, :, 3, 3] = 2.0, 5.0
    maps = torch.zeros(2, 1, 8, 8)
    maps[:, :, 0, 1] = 0.5  # one pixel of the cell (0, 0)
    found = L_w(error, torch.zeros_like(error), maps, beta=1.0, alpha=0.0)
    torch.testing.assert_close(found, torch.tensor([0.5 * 4.0 / 16, 0.0]))


@given(st.floats(0.5, 50))
def test_attenuation_goes_from_one_to_zero_and_is_symmetric(sharpness: float) -> None:
    x = torch.linspace(0, 1, 21, dtype=torch.float64)
    found = m(x, sharpness)
    assert found[0].item() == pytest.approx(1, abs=1e-9)
    assert found[-1].item() == pytest.approx(0, abs=1e-9)
    assert (found.diff() <= 0).all()
    torch.testing.assert_close(found + found.flip(0), torch.ones(21, dtype=torch.float64))


def test_attenuation_follows_its_formula() -> None:
    def logistic(x: float) -> float:
        return 1 / (1 + np.exp(-x))

    expected = 1 - (logistic(10 * (0.3 - 0.5)) - logistic(-5)) / (logistic(5) - logistic(-5))
    assert m(torch.tensor([0.3], dtype=torch.float64), 10.0).item() == pytest.approx(expected)


def test_the_floor_is_what_is_left_of_h_where_the_map_is_one() -> None:
    found = m(torch.tensor([0.0, 0.5, 1.0]), 10.0, floor=0.6)  # half-way the logistic function is at its middle
    torch.testing.assert_close(found, torch.tensor([1.0, 0.8, 0.6]))
    torch.testing.assert_close(m(torch.tensor([0.0, 0.3, 1.0]), 10.0, floor=1.0), torch.ones(3))
