"""Low-pass filters against PyWavelets and against what a projection must do."""

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hspace_exp.errors import UserError
from hspace_exp.methods.frequency import fft_lowpass, haar_lowpass


def pywt_lowpass(plane: np.ndarray, levels: int) -> np.ndarray:
    coefficients = pywt.wavedec2(plane, "haar", mode="symmetric", level=levels)
    kept = [coefficients[0]] + [tuple(np.zeros_like(d) for d in detail) for detail in coefficients[1:]]
    return pywt.waverec2(kept, "haar", mode="symmetric")[: plane.shape[0], : plane.shape[1]]


@given(st.integers(4, 13), st.integers(4, 13), st.integers(1, 2), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_haar_equals_pywavelets(height: int, width: int, levels: int, seed: int) -> None:
    h = torch.randn(1, 2, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = np.stack([pywt_lowpass(plane, levels) for plane in h[0].numpy()])
    np.testing.assert_allclose(haar_lowpass(h, levels)[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("lowpass", [haar_lowpass, fft_lowpass])
def test_lowpass_is_a_projection_that_keeps_constants(lowpass) -> None:  # noqa: ANN001
    h = torch.randn(2, 3, 8, 8)
    low = lowpass(h)
    torch.testing.assert_close(lowpass(low), low)
    torch.testing.assert_close(low.mean((-2, -1)), h.mean((-2, -1)))
    torch.testing.assert_close(lowpass(torch.full((1, 1, 6, 6), 3.0)), torch.full((1, 1, 6, 6), 3.0))
    assert low.square().sum() < h.square().sum()


def test_fft_cutoff_selects_the_band() -> None:
    x = torch.arange(16) * 2 * torch.pi / 16
    slow, fast = torch.cos(2 * x).expand(1, 1, 16, 16), torch.cos(6 * x).expand(1, 1, 16, 16)
    torch.testing.assert_close(fft_lowpass(slow + fast, 0.5), slow.contiguous(), atol=1e-5, rtol=0)
    h = torch.randn(1, 2, 7, 9)
    torch.testing.assert_close(fft_lowpass(h, 2**0.5), h, atol=1e-5, rtol=0)


def test_lowpass_keeps_type_and_lets_gradients_flow() -> None:
    for lowpass in (haar_lowpass, fft_lowpass):
        assert lowpass(torch.randn(1, 1, 5, 5, dtype=torch.bfloat16)).dtype == torch.bfloat16
        h = torch.randn(1, 1, 5, 5, requires_grad=True)
        lowpass(h).sum().backward()
        torch.testing.assert_close(h.grad.sum(), torch.tensor(25.0))


def test_senseless_settings_are_refused() -> None:
    with pytest.raises(UserError, match="at least 1"):
        haar_lowpass(torch.zeros(1, 1, 4, 4), 0)
    with pytest.raises(UserError, match="Nyquist"):
        fft_lowpass(torch.zeros(1, 1, 4, 4), 0.0)
