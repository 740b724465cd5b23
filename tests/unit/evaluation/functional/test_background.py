"""Background masks, pooled PSNR, SSIM."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.metrics
import skimage.morphology
import torch

from hspace_exp.evaluation.functional.content import (
    background_mask,
    dilate,
    masked_squared_error,
    pasted_ssim,
    psnr,
)


def images(seed: int, batch: int = 2, size: int = 32) -> torch.Tensor:
    """Smooth random images in [0, 1]."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((batch, 3, size // 4, size // 4)))
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")


def test_dilation_matches_skimage() -> None:
    mask = torch.from_numpy(np.random.default_rng(0).random((2, 1, 20, 20)) > 0.97)
    for found, one in zip(dilate(mask, 2), mask, strict=True):
        expected = skimage.morphology.dilation(one[0].numpy(), np.ones((5, 5), bool))
        assert np.array_equal(found[0].numpy(), expected)
    assert torch.equal(dilate(mask, 0), mask)


@pytest.mark.parametrize("radius", [1, 3])
def test_dilation_grows_a_point_to_a_square(radius: int) -> None:
    point = torch.zeros(1, 1, 9, 9, dtype=torch.bool)
    point[..., 4, 4] = True
    rows, columns = dilate(point, radius)[0, 0].nonzero().T
    assert sorted(set(rows.tolist())) == sorted(set(columns.tolist())) == list(range(4 - radius, 5 + radius))
    assert len(rows) == (2 * radius + 1) ** 2


@pytest.mark.parametrize("swapped", [False, True])
def test_half_a_person_is_one_and_the_margin_is_a_share_of_the_width(swapped: bool) -> None:
    person, nobody = torch.zeros(1, 1, 16, 256), torch.zeros(1, 1, 16, 256)
    person[..., 8, 100] = 0.5
    outside = background_mask(*((nobody, person) if swapped else (person, nobody)))
    expected = torch.ones(16, 256, dtype=torch.bool)
    expected[:, 84:117] = False
    assert torch.equal(outside[0, 0], expected)


def test_background_is_outside_both_dilated_persons() -> None:
    a, b = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    a[..., 10, 10], b[..., 20, 20] = 0.7, True
    a[..., 0, 0] = 0.4
    outside = background_mask(a, b)
    expected = torch.ones(32, 32, dtype=torch.bool)
    expected[8:13, 8:13] = expected[18:23, 18:23] = False
    assert torch.equal(outside[0, 0], expected)
    assert torch.equal(background_mask(b, a), outside)


def test_psnr_pools_the_error_over_images() -> None:
    a = torch.full((2, 3, 4, 4), 0.25)
    b = a.clone()
    b[0] += 0.1
    b[1, :, :2] += 0.5
    mask = torch.ones(2, 1, 4, 4, dtype=torch.bool)
    mask[1, :, 1:] = False
    error, count = masked_squared_error(a, b, mask)
    np.testing.assert_allclose(error, [0.01 * 48, 0.25 * 12], rtol=1e-6)
    assert count.tolist() == [48, 12]
    pooled = np.concatenate([np.full(48, 0.1), np.full(12, 0.5)])
    expected = skimage.metrics.peak_signal_noise_ratio(np.zeros(60), pooled, data_range=1)
    assert psnr(float(error.sum() / count.sum())) == pytest.approx(expected)


def test_psnr_of_equal_images_is_not_a_number() -> None:
    assert psnr(0.0) is None
    assert psnr(1.0) == pytest.approx(0)
    assert psnr(1e-50) == pytest.approx(500)  # below what float32 holds


def likeness(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    """(B, H, W) SSIM by scikit-image."""
    options = {"channel_axis": 0, "data_range": 1, "gaussian_weights": True, "sigma": 1.5, "full": True}
    options["use_sample_covariance"] = False
    pairs = zip(a.numpy(), b.numpy(), strict=True)
    maps = [skimage.metrics.structural_similarity(*pair, **options)[1] for pair in pairs]
    return np.stack(maps).mean(1)


def test_ssim_matches_skimage_away_from_borders_and_takes_the_rest_from_the_original() -> None:
    original, edited = images(0), (images(0) + 0.2 * images(1)).clamp(0, 1)
    inside = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    inside[..., 6:-6, 6:20] = True
    pasted = torch.where(inside, edited, original)
    expected = likeness(pasted, original)[:, 6:-6, 6:20].mean((1, 2))
    np.testing.assert_allclose(pasted_ssim(edited, original, inside), expected, atol=1e-5)
    assert pasted_ssim(edited, original, torch.zeros_like(inside)).isnan().all()


def test_ssim_of_equal_images_is_one_and_borders_count() -> None:
    everywhere = torch.ones(2, 1, 32, 32, dtype=torch.bool)
    assert pasted_ssim(images(3), images(3), everywhere).tolist() == [1, 1]
    changed = images(3)
    changed[..., 0] = 1 - changed[..., 0]
    assert (pasted_ssim(changed, images(3), everywhere) < 1).all()


def test_an_image_that_did_not_change_is_exactly_like_itself_beside_one_that_did() -> None:
    original = torch.full((2, 3, 32, 32), 0.7)
    edited = original.clone()
    edited[1, :, 4:9, 4:9] = 0.1
    found = pasted_ssim(edited, original, torch.ones(2, 1, 32, 32, dtype=torch.bool))
    assert found[0].item() == 1
    assert found[1].item() < 0.95
    away = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    away[..., 20:, 20:] = True
    assert pasted_ssim(edited, original, away).tolist() == [1, 1]
    assert pasted_ssim(edited, original, away & False).isnan().all()
