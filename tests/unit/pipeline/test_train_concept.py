"""Vectors of a diffusers pipeline from two prompts, in Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from hspace_exp import Concept, steer, train_concept
from hspace_exp.commands import start
from hspace_exp.errors import UserError

PROMPTS = {"positive": "a photo of a smiling person", "neutral": "a photo of a person"}
SMALL = {"images": 2, "steps": 2, "num_inference_steps": 2}


@pytest.fixture
def pipe(tiny_folder: Path) -> diffusers.StableDiffusionPipeline:
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tiny_folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("method", ["sdid", "score_matching", "focused"])
def test_a_vector_from_two_prompts_steers_its_pipeline(
    pipe: diffusers.StableDiffusionPipeline, tmp_path: Path, method: str
) -> None:
    concept = train_concept(pipe, **PROMPTS, method=method, **SMALL)
    assert isinstance(concept, Concept)
    assert (concept.name, concept.method) == ("smiling", method)
    assert concept.prompts["neutral"] == PROMPTS["neutral"]
    assert concept.vector.abs().sum() > 0
    file = concept.save(tmp_path / "smiling.safetensors")

    def image(strength: float) -> torch.Tensor:
        with steer(pipe, {file: strength}):
            made = pipe("a photo of a nurse", num_inference_steps=2, generator=torch.Generator().manual_seed(0))
        return torch.from_numpy(np.array(made.images[0]))

    assert torch.equal(image(0.0), image(0.0))
    assert not torch.equal(image(0.0), image(50.0))


def test_vectors_that_start_at_zero_go_as_far_in_fewer_steps(pipe: diffusers.StableDiffusionPipeline) -> None:
    """Adam's first step is as long as its rate."""

    def found(method: str, *overrides: str) -> torch.Tensor:
        options = {**PROMPTS, **SMALL, "steps": 1, "overrides": overrides}
        return train_concept(pipe, **options, method=method).vector

    six = "protocol.rates_for_steps=6"
    assert found("sdid").abs().max().item() == pytest.approx(0.1, rel=1e-3)
    assert found("sdid", six).abs().max().item() == pytest.approx(0.6, rel=1e-3)
    assert torch.equal(found("score_matching"), found("score_matching", six))  # starts at small random numbers


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers with this NumPy
def test_a_transformer_is_edited_where_it_is_told(tiny_family: Callable[[str], Path], tmp_path: Path) -> None:
    pipe = diffusers.PixArtAlphaPipeline.from_pretrained(tiny_family("pixart"))
    pipe.set_progress_bar_config(disable=True)
    options = {**SMALL, "cache": tmp_path}
    middle = train_concept(pipe, **PROMPTS, **options)
    assert train_concept(pipe, **PROMPTS, **options, site="block:1").vector.equal(middle.vector)
    other = train_concept(pipe, **PROMPTS, **options, site="heads:2")
    assert (middle.site, other.site) == ("block:1", "heads:2")
    assert not other.vector.equal(middle.vector)
    with pytest.raises(UserError, match=r"expected a site like .* \(of 4 blocks\), got 'heads:4'"):
        train_concept(pipe, **PROMPTS, **options, site="heads:4")
    with pytest.raises(UserError, match="a U-Net's only site is mid_block, got 'block:1'"):
        train_concept(diffusers.StableDiffusionPipeline.from_pretrained(tiny_family("sd14")), **PROMPTS, site="block:1")


def test_a_strength_that_nobody_knows_is_not_stated_and_is_asked_for(
    pipe: diffusers.StableDiffusionPipeline,
    tmp_path: Path,
    tiny_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unknown = train_concept(pipe, **PROMPTS, **SMALL)
    assert not {"strength", "guidance_scale"} & set(unknown.hyperparameters)
    assert "auto" not in unknown.card()
    file = unknown.save(tmp_path / "smiling.safetensors")
    asked = ["a photo of a nurse", "--concepts", str(file), "--set", f"model.source={tiny_folder}", "--device", "cpu"]
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    assert start(["generate", *asked]) == 2
    said = "error: the file of 'smiling' states no strength: give one, e.g. --strength 2\n"
    assert capsys.readouterr().err.endswith(said)
    known = train_concept(pipe, **PROMPTS, **SMALL, overrides=["method.strength=1.5"])
    assert (known.hyperparameters["strength"], known.hyperparameters["guidance_scale"]) == (1.5, 7.5)
    assert torch.equal(known.vector, unknown.vector)


def test_what_is_cached_is_found_again_and_seeds_differ(
    pipe: diffusers.StableDiffusionPipeline, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = train_concept(pipe, **PROMPTS, **SMALL, cache=tmp_path)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    again = train_concept(pipe, **PROMPTS, **SMALL, cache=tmp_path)
    assert torch.equal(first.vector, again.vector)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == kept
    assert not torch.equal(first.vector, train_concept(pipe, **PROMPTS, **SMALL, cache=tmp_path, seed=1).vector)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"method": "sdif"}, "Did you mean 'sdid'"),
        ({"method": "original"}, "learns no vectors"),
        ({"positive": "a photo of a person"}, "lacks no word of"),
        ({"steps": 0}, "training_steps"),
        ({"positive": "a [young], 'person'"}, ""),
    ],
)
def test_wrong_input_is_refused_by_name(
    pipe: diffusers.StableDiffusionPipeline, changed: dict[str, object], words: str
) -> None:
    asked = {**PROMPTS, **SMALL, **changed}
    if not words:  # a prompt is taken verbatim
        assert train_concept(pipe, **asked).prompts["positive"] == changed["positive"]
        return
    with pytest.raises(UserError, match=words):
        train_concept(pipe, **asked)


def test_other_pipelines_are_refused() -> None:
    with pytest.raises(UserError, match="pipeline class"):
        train_concept(object(), **PROMPTS)
