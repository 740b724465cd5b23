"""Cosines between concept files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError
from hspace_exp.evaluation.concept_geometry import concept_cosines, cosine_matrix


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


def test_names_and_models_are_told_apart(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
    files = [save(tmp_path / folder, "a", torch.ones(2, 1, 1)) for folder in ("x", "y")]
    assert set(concept_cosines(files)) == {f"a ({tmp_path / 'x'})", f"a ({tmp_path / 'y'})"}
    with pytest.raises(UserError, match=r"is for h \(2, 4, 4\)"):
        concept_cosines([files[0], save(tmp_path, "big", torch.ones(2, 1, 1), (2, 4, 4))])
    with pytest.raises(UserError, match="at least one concept file"):
        concept_cosines([])


def test_cosines_agree_with_scipy() -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 30))
    assert np.allclose(cosine_matrix(torch.from_numpy(vectors)).numpy(), 1 - cdist(vectors, vectors, "cosine"))
    with pytest.raises(UserError, match="zero vector"):
        cosine_matrix(torch.zeros(2, 3))
