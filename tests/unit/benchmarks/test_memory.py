"""Estimates of memory: what is there, what a formula says, and how they grow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.layouts import LAYOUTS, tiny
from benchmarks.memory import OVERHEAD, _Live, estimate
from hspace_exp.doctor.overview import MEASURED_GIB, MEMORY_GIB, memory
from hspace_exp.models.backbone import load_backbone
from hspace_exp.models.split import encode


def test_live_bytes_come_and_go() -> None:
    with torch.device("meta"), _Live() as live:
        first = torch.empty(100, dtype=torch.float32)
        view = first.view(10, 10)
        second = first + 1
        assert live.now == 800
        del first, view
        assert live.now == 400
        del second
    assert (live.now, live.peak) == (0, 800)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("sd14", 2 * (859_520_964 + 123_060_480) + 4 * 83_653_863),
        pytest.param("sdxl", None, marks=pytest.mark.slow),
    ],
)
def test_published_models_fit_their_targets(name: str, weights: int | None) -> None:
    found = estimate(LAYOUTS[name])
    if weights is not None:
        assert found.weights == weights
    assert found.training < {"sd14": 8, "sdxl": 24}[name] * 2**30
    assert found.generation > found.weights + OVERHEAD


def test_memory_grows_with_rows_and_shrinks_with_checkpointing() -> None:
    layout = tiny(LAYOUTS["sd21"])
    small = estimate(layout, rows=4, chunk=2, runs=1)
    large = estimate(layout, rows=4, chunk=2, runs=2, checkpointing=False)
    fixed = small.weights + OVERHEAD
    assert large.training - fixed > 1.5 * (small.training - fixed)
    assert small.generation < large.generation
    assert large.generation - fixed < 2.1 * (small.generation - fixed)
    assert small.decoding == large.decoding


def test_the_first_half_of_a_state_is_what_the_split_keeps(tiny_family: Callable[[str], Path]) -> None:
    backbone = load_backbone(tiny_family("sd14"), device="cpu")
    latents = torch.zeros(1, *backbone.latent_shape)
    kept = encode(backbone, latents, torch.tensor([5]), backbone.encode_prompts([""]))
    assert estimate(tiny(LAYOUTS["sd14"]), rows=2, chunk=1).state == kept.to(backbone.device, torch.half).bytes_a_row


@pytest.mark.slow
@pytest.mark.parametrize("name", MEMORY_GIB)
def test_the_doctor_knows_the_estimates(name: str) -> None:
    plain, focused = estimate(LAYOUTS[name], runs=1), estimate(LAYOUTS[name], runs=2)
    generation, with_focused = (max(found.generation, found.decoding) for found in (plain, focused))
    peaks = (plain.training, focused.training, generation, with_focused)
    assert MEMORY_GIB[name] == [round(peak / 2**30, 1) for peak in peaks]


RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


def test_the_doctor_knows_what_was_measured() -> None:
    runs = [
        run
        for file in ("pixart", "flow")
        for run in json.loads((RESULTS / f"full_size_{file}.json").read_text())["runs"]
    ]
    peaks = {run["model"]: {stage: one["peak_gib"] for stage, one in run["stages"].items()} for run in runs}
    assert {run["method"] for run in runs} == {"sdid"}
    assert {
        name: [round(own["training"], 1), None, round(max(own["generation"], own["calibration"]), 1), None]
        for name, own in peaks.items()
    } == MEASURED_GIB


def test_what_is_not_known_and_what_does_not_fit_is_marked() -> None:
    assert memory("sd3", 21.0) == ["21.3*", "?", "20.6", "?"]
    assert memory("sdxl", 13.0) == ["13.6*", "13.6*", "10.6", "12.6"]
    assert memory("sdxl") == ["13.6", "13.6", "10.6", "12.6"]
    assert memory("flux", 1.0) == ["?"] * 4
    assert memory("avatars_dit", 1.0) == ["small"] * 4
