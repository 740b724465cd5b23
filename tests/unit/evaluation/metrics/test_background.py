"""Metrics of backgrounds."""

from __future__ import annotations

from collections.abc import Callable
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.evaluation.judged import JudgedBatch
from hspace_exp.evaluation.metrics.background import BackgroundLpips, BackgroundPsnr, BackgroundSsim
from hspace_exp.evaluation.metrics.base import ImageMetric, Setting

RNG = np.random.default_rng(0)
IMAGES = torch.from_numpy(RNG.random((12, 3, 16, 16))).float()
EVERYWHERE = torch.ones(12, 1, 16, 16, dtype=torch.bool)

Shown = Callable[..., ImageMetric]


@pytest.fixture
def shown(make_batch: Callable[..., JudgedBatch]) -> Shown:
    """A metric that saw these images."""

    def show(metric: ImageMetric, edited: Tensor, background: Tensor = EVERYWHERE, repeats: int = 20) -> ImageMetric:
        own = metric.prepared(Setting(repeats=repeats))
        own.update(make_batch(12, original=IMAGES, edited=edited, background=background))
        return own

    return show


def test_unchanged_backgrounds_are_null_not_infinity(shown: Shown) -> None:
    psnr = shown(BackgroundPsnr(), IMAGES)
    result = psnr.result()
    assert (result.value, result.ci_low, result.ci_high, result.n) == (None, None, None, 12)
    assert result.note == "infinite: no background pixel changed"
    assert psnr.compute().item() == float("inf")
    assert shown(BackgroundSsim(), IMAGES).result().value == 1
    assert dict(psnr.by_group()) == {0: None}


def test_only_the_background_counts(shown: Shown) -> None:
    edited, background = IMAGES.clone(), EVERYWHERE.clone()
    edited[:, :, :8] = 1 - edited[:, :, :8]
    background[:, :, :8] = False
    assert shown(BackgroundPsnr(), edited, background).result().value is None
    edited[:, :, 8:] += 0.1
    assert shown(BackgroundPsnr(), edited, background).result().value == pytest.approx(20, abs=1e-4)


def test_error_is_pooled_not_averaged_in_decibels(shown: Shown) -> None:
    edited = IMAGES.clone()
    edited[0] += 0.5
    result = shown(BackgroundPsnr(), edited, repeats=100).result()
    assert result.value == pytest.approx(-10 * np.log10(0.25 / 12), abs=1e-4)
    assert result.value is not None
    assert result.ci_low is not None
    assert result.ci_low < result.value
    assert result.ci_high is None
    assert "no upper bound" in result.note


def test_images_without_background_do_not_count(shown: Shown) -> None:
    background = EVERYWHERE.clone()
    background[:5] = False
    for metric in (BackgroundPsnr(), BackgroundSsim()):
        assert shown(metric, IMAGES * 0.9, background).result().n == 7


def test_lpips_without_weights_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torchmetrics.image.lpip._NoTrainLpips", refuse)
    with pytest.raises(UserError, match=r"LPIPS' alex weights cannot be had.*leave the metric background_lpips out"):
        BackgroundLpips()


def test_lpips_of_any_weights_is_zero_for_equal_images_only(
    monkeypatch: pytest.MonkeyPatch, make_batch: Callable[..., JudgedBatch]
) -> None:
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    torch.manual_seed(0)
    network = _NoTrainLpips(net="squeeze", pnet_rand=True)
    monkeypatch.setattr("torchmetrics.image.lpip._NoTrainLpips", lambda **_: network)
    a, b = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    metric = BackgroundLpips("squeeze")
    everywhere = torch.ones(2, 1, 64, 64, dtype=torch.bool)
    assert metric.observe(make_batch(2, original=a, edited=a.clone(), background=everywhere)).tolist() == [0, 0]
    background = torch.zeros(2, 1, 64, 64, dtype=torch.bool)
    background[0] = True
    found = metric.observe(make_batch(2, original=a, edited=b, background=background))
    assert found[0] > 0  # all of it is background
    assert found[1] == 0  # nothing is
