"""Metrics of pairs of images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hspace_exp.evaluation.functional.background import masked_squared_error, pasted_ssim
from hspace_exp.evaluation.image_metric import item_keys
from hspace_exp.evaluation.pair_metrics import BackgroundPsnr, BackgroundSsim

RNG = np.random.default_rng(0)
KEYS = item_keys([str(i) for i in range(12)])
FEATURES = torch.from_numpy(RNG.normal(size=(12, 4)))
IMAGES = torch.from_numpy(RNG.random((12, 3, 16, 16))).float()
EVERYWHERE = torch.ones(12, 1, 16, 16, dtype=torch.bool)


def test_unchanged_backgrounds_are_null_not_infinity() -> None:
    psnr, ssim = BackgroundPsnr(repeats=20), BackgroundSsim(repeats=20)
    psnr.update(KEYS, *masked_squared_error(IMAGES, IMAGES, EVERYWHERE))
    ssim.update(KEYS, *pasted_ssim(IMAGES, IMAGES, [EVERYWHERE]))
    result = psnr.result()
    assert (result.value, result.ci_low, result.ci_high, result.n) == (None, None, None, 12)
    assert result.note == "infinite: no background pixel changed"
    assert psnr.compute().item() == float("inf")
    assert ssim.result().value == 1
    assert dict(psnr.by_group()) == {0: None}


def test_only_the_background_counts() -> None:
    edited = IMAGES.clone()
    edited[:, :, :8] = 1 - edited[:, :, :8]
    background = EVERYWHERE.clone()
    background[:, :, :8] = False
    metric = BackgroundPsnr(repeats=0)
    metric.update(KEYS, *masked_squared_error(edited, IMAGES, background))
    assert metric.result().value is None
    edited[:, :, 8:] += 0.1
    metric.reset()
    metric.update(KEYS, *masked_squared_error(edited, IMAGES, background))
    assert metric.result().value == pytest.approx(20, abs=1e-4)


def test_error_is_pooled_not_averaged_in_decibels() -> None:
    edited = IMAGES.clone()
    edited[0] += 0.5
    metric = BackgroundPsnr(repeats=100)
    metric.update(KEYS, *masked_squared_error(edited, IMAGES, EVERYWHERE))
    result = metric.result()
    assert result.value == pytest.approx(-10 * np.log10(0.25 / 12), abs=1e-4)
    assert result.value is not None
    assert result.ci_low is not None
    assert result.ci_low < result.value
    assert result.ci_high is None
    assert "no upper bound" in result.note


def test_images_without_background_do_not_count() -> None:
    background = EVERYWHERE.clone()
    background[:5] = False
    psnr, ssim = BackgroundPsnr(repeats=10), BackgroundSsim(repeats=10)
    psnr.update(KEYS, *masked_squared_error(IMAGES * 0.9, IMAGES, background))
    ssim.update(KEYS, *pasted_ssim(IMAGES * 0.9, IMAGES, [background]))
    assert (psnr.result().n, ssim.result().n) == (7, 7)
