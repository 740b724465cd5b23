"""Cosines, sums and remainders of concept vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from hspace_exp import steer
from hspace_exp.commands import start
from hspace_exp.concepts.algebra import combined, concept_cosines
from hspace_exp.concepts.concept import Concept, load_concept
from hspace_exp.errors import UserError
from hspace_exp.models.hspace import edit_hspace


def make(name: str, vector: Tensor, h_shape: tuple[int, int, int] = (2, 2, 2), **more: Any) -> Concept:
    given = {"attribute": "gender", "model": "tiny", "revision": "0", "method": "sdid", "licence": "MIT", **more}
    return Concept(vector, name, h_shape=h_shape, **given)


def test_channel_and_spatial_vectors_are_compared_place_by_place() -> None:
    channel = torch.tensor([1.0, 0]).view(2, 1, 1)
    spatial = torch.zeros(2, 2, 2)
    spatial[0, 0, 0] = 3
    found = concept_cosines([make("a", channel), make("b", spatial), make("c", -channel)])
    assert found["a"] == {"a": 1, "b": pytest.approx(0.5), "c": -1}
    assert found["b"]["c"] == pytest.approx(-0.5)


def test_cosines_agree_with_scipy() -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 30))
    made = torch.from_numpy(vectors).float()[..., None, None]
    concepts = [make(f"v{i}", vector, (30, 2, 2)) for i, vector in enumerate(made)]
    found = np.array([list(row.values()) for row in concept_cosines(concepts).values()])
    assert np.allclose(found, 1 - cdist(vectors, vectors, "cosine"), atol=1e-4)


def test_nothing_is_compared_with_nothing() -> None:
    assert concept_cosines([make("a", torch.ones(2, 1, 1))]) == {}


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None, None]


def test_sums_differences_and_scales_by_hand() -> None:
    a, b, c = make("a", column(1, 2)), make("b", column(0, 4)), make("c", column(3, 1))
    found = combined("d", [a, c], [b], scale=-0.5)
    assert torch.equal(found.vector, column(-2, 0.5))
    assert (found.name, found.method, found.kind, found.presence) == ("d", "plain", "channel", None)
    assert found.hyperparameters == {"made": "-0.5 * (+ a + c - b)"}
    assert "Setting, made | -0.5 * (+ a + c - b)" in found.card()


def test_spatial_and_channel_vectors_add_place_by_place() -> None:
    spatial = torch.arange(8.0).view(2, 2, 2)
    assert torch.equal(combined("d", [make("a", spatial), make("b", column(1, 10))]).vector, spatial + column(1, 10))


def test_what_is_left_is_orthogonal_to_all_the_others_also_where_these_lie_in_a_plane() -> None:
    draw = torch.Generator().manual_seed(0)
    a, b, c = torch.randn(3, 6, 1, 1, generator=draw)
    others = [make("b", b, (6, 2, 2)), make("c", c, (6, 2, 2)), make("bc", b - 2 * c, (6, 2, 2))]
    found = combined("d", [make("a", a, (6, 2, 2))], orthogonal_to=others)
    one, two = b.flatten().double(), c.flatten().double()  # Gram and Schmidt, by hand
    two = two - (two @ one) / (one @ one) * one
    left = a.flatten().double()
    left = left - (left @ one) / (one @ one) * one - (left @ two) / (two @ two) * two
    torch.testing.assert_close(found.vector.flatten().double(), left, rtol=1e-5, atol=1e-6)
    assert found.kind == "channel"
    assert found.hyperparameters["made"] == "1 * (+ a), orthogonal to b, orthogonal to c, orthogonal to bc"


def test_what_all_terms_state_is_stated() -> None:
    used = {"strength": 2.5, "branch": "conditional", "guidance_scale": 3.0, "images": 3}
    a = make("a", column(1, 2), hyperparameters=used, prompts={"neutral": "x"}, licence="MIT")
    b = make("b", column(0, 4), hyperparameters={**used, "branch": "both"}, licence="CC0-1.0")
    assert combined("d", [a], [b]).hyperparameters == {"made": "1 * (+ a - b)", "strength": 2.5, "guidance_scale": 3.0}
    assert combined("d", [a], [b]).licence == "CC0-1.0, MIT"
    assert combined("d", [a], [b]).prompts == {}
    assert combined("d", [a], orthogonal_to=[b]).hyperparameters["branch"] == "conditional"
    assert combined("d", [a], orthogonal_to=[b]).prompts == {"neutral": "x"}


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ({"subtract": [make("b", column(1, 2))]}, "cancel out"),
        ({"orthogonal_to": [make("b", column(-2, -4))]}, "span of the others"),
        ({"scale": 0.0}, "nothing is left"),
        ({"subtract": [make("b", column(0, 1), model="other")]}, "'b' and 'a' are of different models"),
        ({"orthogonal_to": [make("b", column(0, 1), revision="1")]}, "different models"),
        ({"subtract": [make("b", column(0, 1), h_shape=(2, 4, 4))]}, "different models"),
    ],
)
def test_what_has_no_meaning_is_refused(rest: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        combined("d", [make("a", column(1, 2))], **rest)


def test_the_command_leaves_a_file_that_is_used_like_others(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    h_shape, draw = (16, 4, 4), torch.Generator().manual_seed(0)
    used = {"strength": 2.0, "branch": "both"}
    made = {n: make(n, torch.randn(h_shape, generator=draw), h_shape, hyperparameters=used) for n in ("a", "b", "c")}
    files = [str(one.save(tmp_path / f"{name}.safetensors")) for name, one in made.items()]
    target = tmp_path / "new.safetensors"
    words = [str(target), "--add", files[0], "--subtract", files[1], "--orthogonal-to", files[2], "--scale", "2"]
    assert start(["concepts", "vector-math", *words]) == 0
    place, *rows = capsys.readouterr().out.splitlines()
    assert place == str(target)
    assert [row.split()[0] for row in rows] == ["a", "b", "c", "new"]
    assert "c +0.000" in rows[3] or "c -0.000" in rows[3]
    difference = made["a"].vector - made["b"].vector
    third = made["c"].vector
    expected = 2 * (difference - (difference * third).sum() / (third * third).sum() * third)
    torch.testing.assert_close(load_concept(target).vector, expected)
    assert "2 * (+ a - b), orthogonal to c" in target.with_suffix(".md").read_text("utf-8")
    pipe = diffusers.DiffusionPipeline.from_pretrained(tiny_folder)
    pipe.set_progress_bar_config(disable=True)

    def latents() -> Tensor:
        noise = torch.Generator().manual_seed(3)
        return pipe("a doctor", num_inference_steps=2, output_type="latent", generator=noise).images

    with edit_hspace(pipe.unet, lambda h: h + 2 * load_concept(target).vector):
        by_rule = latents()
    with steer(pipe, {target: None}):
        torch.testing.assert_close(latents(), by_rule, rtol=1e-4, atol=1e-4)
    assert start(["concepts", "vector-math", *words]) == 2
    assert "expected a new file" in capsys.readouterr().err
