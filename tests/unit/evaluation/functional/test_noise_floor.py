"""The expected deviation ratio of classes drawn at random."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from hspace_exp.errors import UserError
from hspace_exp.evaluation.functional.noise_floor import deviation_ratio_floor


@pytest.mark.parametrize(("images", "expected"), [(25, 0.161), (100, 0.0796), (500, 0.0357)])
def test_published_floors(images: int, expected: float) -> None:
    assert deviation_ratio_floor(images, 2) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("images", [1, 2, 7, 16, 63])
def test_two_classes_are_a_binomial_sum(images: int) -> None:
    k = np.arange(images + 1)
    expected = (binom.pmf(k, images, 0.5) * np.abs(2 * k / images - 1)).sum()
    assert deviation_ratio_floor(images, 2) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("images", "classes"), [(4, 3), (6, 3), (5, 4), (3, 5)])
def test_all_outcomes_by_brute_force(images: int, classes: int) -> None:
    total = 0.0
    for outcome in itertools.product(range(classes), repeat=images):
        shares = np.bincount(outcome, minlength=classes) / images
        total += np.abs(shares - 1 / classes).max() / (1 - 1 / classes)
    assert deviation_ratio_floor(images, classes) == pytest.approx(total / classes**images, abs=1e-9)


def test_many_images_agree_with_simulation() -> None:
    shares = np.random.default_rng(0).multinomial(300, [1 / 6] * 6, size=20_000) / 300
    expected = (np.abs(shares - 1 / 6).max(1) / (5 / 6)).mean()
    assert deviation_ratio_floor(300, 6) == pytest.approx(expected, abs=5e-4)


def test_nothing_has_no_floor() -> None:
    with pytest.raises(UserError, match="at least 1 image and 2 classes, got 0 and 2"):
        deviation_ratio_floor(0, 2)
