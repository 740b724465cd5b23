"""Distances of distributions on a GPU are those of the CPU."""

from __future__ import annotations

import pytest
import torch

from hspace_exp.evaluation.distribution_metrics import workplace
from hspace_exp.evaluation.image_metric import item_keys
from hspace_exp.evaluation.measures import DISTRIBUTIONS, distribution_measures

N = 300


def test_sums_over_all_pairs_stay_where_float64_is_known() -> None:
    assert workplace("cuda:1") == torch.device("cuda:1")
    assert workplace("cpu") == workplace("mps") == torch.device("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_numbers_of_the_cpu() -> None:
    random = torch.Generator().manual_seed(0)
    original = torch.randn(N, 24, generator=random)
    edited = original + 0.5 * torch.randn(N, 24, generator=random)
    edited[:50] = original[:50]  # images that an edit left alone are at distance 0
    keys = item_keys([str(i) for i in range(N)])
    cpu, gpu = (distribution_measures(device, repeats=200) for device in ("cpu", "cuda"))
    for name in DISTRIBUTIONS:
        for measures in (cpu, gpu):
            measures[name].metric.update(keys, edited, original)
        values = [measures[name].metric.compute().item() for measures in (cpu, gpu)]
        assert values[1] == pytest.approx(values[0], rel=1e-9, abs=1e-9), name
        first, second = (measures[name].metric.result() for measures in (cpu, gpu))
        assert second.ci_low == pytest.approx(first.ci_low, abs=2e-6), name  # rounded to six decimals
        assert second.ci_high == pytest.approx(first.ci_high, abs=2e-6), name
