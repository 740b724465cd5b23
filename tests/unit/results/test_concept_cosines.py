"""Cosines between concept files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.results.report import concept_cosines


def save(folder: Path, name: str, vector: Tensor, h_shape: tuple[int, int, int] = (2, 2, 2)) -> Path:
    concept = Concept(
        vector=vector, name=name, attribute="gender", model="tiny", revision="0", h_shape=h_shape, method="sdid",
        prompts={"positive": "a", "neutral": "b"}, hyperparameters={}, seed=0, metrics={}, licence="MIT",
    )  # fmt: skip
    path = folder / f"{name}.safetensors"
    concept.save(path)
    return path


def test_channel_and_spatial_vectors_are_compared_place_by_place(tmp_path: Path) -> None:
    channel = torch.tensor([1.0, 0]).view(2, 1, 1)
    spatial = torch.zeros(2, 2, 2)
    spatial[0, 0, 0] = 3
    files = [save(tmp_path, "a", channel), save(tmp_path, "b", spatial), save(tmp_path, "c", -channel)]
    found = concept_cosines(files)
    assert found["a"] == {"a": 1, "b": pytest.approx(0.5), "c": -1}
    assert found["b"]["c"] == pytest.approx(-0.5)


def test_cosines_agree_with_scipy(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 30))
    made = torch.from_numpy(vectors).float()[..., None, None]
    files = [save(tmp_path, f"v{i}", vector, (30, 2, 2)) for i, vector in enumerate(made)]
    found = np.array([list(row.values()) for row in concept_cosines(files).values()])
    assert np.allclose(found, 1 - cdist(vectors, vectors, "cosine"), atol=1e-4)


def test_nothing_is_compared_with_nothing(tmp_path: Path) -> None:
    assert concept_cosines([save(tmp_path, "a", torch.ones(2, 1, 1))]) == {}
