"""Deviation ratio, group means, bias amplification."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, entropy

from hspace_exp.evaluation.functional.fairness import (
    bias_amplification,
    deviation_ratio,
    deviation_ratio_floor,
    group_means,
    intersect,
    normalised_entropy,
    parity_gap,
    part_of,
)

COUNTS = st.integers(2, 5).flatmap(lambda c: st.lists(st.integers(0, 50), min_size=c, max_size=c)).filter(any)


def test_even_is_zero_and_one_sided_is_one() -> None:
    counts = torch.tensor([[5, 5], [10, 0], [0, 3]])
    assert deviation_ratio(counts).tolist() == [0, 1, 1]
    assert deviation_ratio(torch.tensor([4, 4, 4])).item() == pytest.approx(0)
    assert deviation_ratio(torch.tensor([0, 9, 0])).item() == pytest.approx(1)


@given(COUNTS, st.randoms())
def test_range_definition_and_relabelling(counts: list[int], random: object) -> None:
    n, c = sum(counts), len(counts)
    expected = max(abs(k / n - 1 / c) for k in counts) / (1 - 1 / c)
    found = deviation_ratio(torch.tensor(counts)).item()
    assert found == pytest.approx(expected)
    assert -1e-12 <= found <= 1 + 1e-12
    random.shuffle(counts)  # type: ignore[attr-defined]
    assert deviation_ratio(torch.tensor(counts)).item() == pytest.approx(found)


def test_two_balanced_targets_give_the_difference_of_successes() -> None:
    # 10 images asked to be women, 9 are; 10 asked to be men, 6 are.
    women = 9 + 4
    assert deviation_ratio(torch.tensor([women, 20 - women])).item() == pytest.approx(0.9 - 0.6)


def test_noise_floor_of_a_random_assignment() -> None:
    rng = np.random.default_rng(0)
    for n, floor in ((25, 0.161), (100, 0.079), (500, 0.036)):
        women = torch.from_numpy(rng.binomial(n, 0.5, 20_000))
        assert deviation_ratio(torch.stack([women, n - women], 1)).mean().item() == pytest.approx(floor, abs=0.003)


def test_group_means_skip_absent_groups() -> None:
    means = group_means(torch.tensor([1.0, 0.0, 1.0, 1.0]), torch.tensor([0, 0, 3, 3]))
    assert means.tolist() == [0.5, 1.0]
    assert group_means(torch.tensor([1.0, 0.25]), torch.tensor([0, 2])).tolist() == [1.0, 0.25]


def test_bias_amplification_follows_the_majority_of_the_data() -> None:
    truth = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64)
    assert bias_amplification(torch.tensor([[9, 1], [2, 8]]), truth).mean().item() == pytest.approx(0)
    assert bias_amplification(torch.tensor([[10, 0], [0, 10]]), truth).mean().item() == pytest.approx(0.15)
    assert bias_amplification(torch.tensor([[5, 5], [5, 5]]), truth).mean().item() == pytest.approx(-0.35)
    assert bias_amplification(torch.tensor([[0, 10], [10, 0]]), truth).mean().item() == pytest.approx(-0.85)


def test_bias_amplification_ignores_class_order_and_even_data() -> None:
    truth = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5]], dtype=torch.float64)
    counts = torch.tensor([[7, 2, 1], [1, 1, 8]])
    value = bias_amplification(counts, truth).mean().item()
    assert value == pytest.approx(((0.7 - 0.6) + (0.8 - 0.5)) / 2)
    order = [2, 0, 1]
    assert bias_amplification(counts[:, order], truth[:, order]).mean().item() == pytest.approx(value)
    assert bias_amplification(torch.tensor([[9, 1]]), torch.tensor([[0.5, 0.5]])).item() == 0


def test_bias_amplification_of_several_models_at_once() -> None:
    truth = torch.tensor([[0.25, 0.25, 0.3, 0.2], [0.7, 0.1, 0.1, 0.1]], dtype=torch.float64)
    counts = torch.tensor([[[4, 2, 3, 1], [0, 0, 0, 1]], [[0, 0, 10, 0], [9, 1, 0, 0]], [[1, 1, 1, 1], [7, 1, 1, 1]]])
    # A class with just 1/C is no majority: of the first row only the third class counts.
    expected = [[0.3 - 0.3, 0 - 0.7], [1 - 0.3, 0.9 - 0.7], [0.25 - 0.3, 0.7 - 0.7]]
    np.testing.assert_allclose(bias_amplification(counts, truth), expected, atol=1e-12)


def test_intersection_numbers_combinations_and_keeps_the_unclear_apart() -> None:
    gender, skin = torch.tensor([0, 0, 1, 1, -1]), torch.tensor([0, 3, 0, 3, 2])
    assert intersect(torch.stack([gender, skin]), (2, 4)).tolist() == [0, 3, 4, 7, -1]
    assert intersect(gender[None], (2,)).tolist() == [0, 0, 1, 1, -1]


def test_numbers_of_combinations_and_back() -> None:
    sizes = (2, 3, 4)
    classes = torch.cartesian_prod(*(torch.arange(size) for size in sizes)).T
    joint = intersect(classes, sizes)
    assert joint.tolist() == list(range(24))
    for k in range(3):
        assert torch.equal(part_of(joint, k, sizes), classes[k])
    assert part_of(torch.tensor([-1, 5]), 1, sizes).tolist() == [-1, 1]


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


def test_parity_gap_and_entropy_of_cases_worked_by_hand() -> None:
    counts = torch.tensor([[5, 5], [10, 0], [8, 2]])
    assert parity_gap(counts).tolist() == pytest.approx([0, 0.5, 0.3])
    assert normalised_entropy(counts).tolist() == pytest.approx([1, 0, 0.8 * 0.321928095 + 0.2 * 2.321928095])
    three = torch.tensor([[6, 3, 0], [0, 0, 4]])  # shares 2/3, 1/3, 0 and 0, 0, 1
    assert parity_gap(three).tolist() == pytest.approx([(1 / 3 + 0 + 1 / 3) / 3, 4 / 9])
    assert normalised_entropy(three).tolist() == pytest.approx([0.918295834 / 1.584962501, 0])


@given(COUNTS, st.randoms())
def test_parity_gap_and_entropy_are_numpys_and_scipys(counts: list[int], random: object) -> None:
    shares, c = np.array(counts) / sum(counts), len(counts)
    gap, evenness = np.abs(shares - 1 / c).mean(), entropy(shares) / np.log(c)
    random.shuffle(counts)  # type: ignore[attr-defined]
    assert parity_gap(torch.tensor(counts)).item() == pytest.approx(gap)
    assert normalised_entropy(torch.tensor(counts)).item() == pytest.approx(evenness, abs=1e-12)
    assert -1e-12 <= parity_gap(torch.tensor(counts)).item() <= 2 * (c - 1) / c**2 + 1e-12


def test_the_parity_gap_of_two_classes_is_half_of_the_deviation_ratio() -> None:
    counts = torch.tensor([[7, 3], [0, 4], [5, 5]])
    assert (2 * parity_gap(counts)).tolist() == pytest.approx(deviation_ratio(counts).tolist())
