"""Every rival of the comparison from end to end through the command line, on a tiny world."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hspace_exp.concepts.concept import load_concept
from hspace_exp.generation.manifest import read_manifest
from hspace_exp.io.images import load_images
from hspace_exp.io.seeding import LEARNING, initial_noise
from hspace_exp.models.backbone import load_backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.results.record import read_record

Cli = Callable[..., Any]


def changed(run_dir: Path) -> bool:
    """Whether any edited image differs from its unedited twin."""
    pairs = read_manifest(run_dir / "manifest.csv")
    return not torch.equal(load_images([p.original for p in pairs]), load_images([p.edited for p in pairs]))


def test_the_prompt_names_the_attribute_without_any_vector(cli: Cli, study: list[str], tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    outcome = cli(*study, "method=prompt", f"hydra.run.dir={run_dir}")
    assert outcome.code == 0, outcome.error
    record = read_record(run_dir)
    assert record.method == "prompt"
    assert "training" not in record.seconds
    assert not (run_dir / "concepts").exists()
    assert {p.target for p in read_manifest(run_dir / "manifest.csv")} == {"female", "male"}
    assert changed(run_dir)
    other = [*study, "method=prompt", "attribute.concepts.female.adjective=young", f"hydra.run.dir={run_dir}"]
    assert "made again" in cli(*other).error


@pytest.mark.parametrize("method", ["respodiff", "pca", "h_guidance"])
def test_vectors_are_learnt_and_change_images(cli: Cli, arguments: list[str], tmp_path: Path, method: str) -> None:
    run_dir = tmp_path / "run"
    outcome = cli(*arguments, f"method={method}", "method.strength=20", f"hydra.run.dir={run_dir}")
    assert outcome.code == 0, outcome.error
    concepts = {path.stem: load_concept(path) for path in (run_dir / "concepts").glob("*.safetensors")}
    assert set(concepts) == {"female", "male"}
    for concept in concepts.values():
        assert (concept.method, concept.attribute) == (method, "gender")
        assert concept.hyperparameters["unet_evaluations"]["forward"] > 0
    assert not torch.equal(concepts["female"].vector, concepts["male"].vector)
    assert changed(run_dir)
    again = cli(*arguments, f"method={method}", "method.strength=10", f"hydra.run.dir={tmp_path / 'other'}")
    assert again.code == 0, again.error
    assert "training" not in read_record(tmp_path / "other").seconds  # from the files alone


def test_images_of_a_concept_are_those_of_its_positive_prompt(
    cli: Cli, arguments: list[str], tmp_path: Path, world: Path
) -> None:
    outcome = cli(*arguments, "method=sdid", "stages=[concepts]", f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.code == 0, outcome.error
    backbone = load_backbone(world, device="cpu", guidance_scale=3.0)  # conf/model/avatars.yaml
    sampling = Sampling(2, lambda scheduler: make_scheduler(scheduler, "native"), chunk_size=2)
    found = {}
    for manifest in (tmp_path / "cache").glob("*/manifest.json"):
        latents = load_file(manifest.parent / "block-000000.safetensors")["latents"]
        found[json.loads(manifest.read_text())["prompt"]] = latents
    assert set(found) == {"a photo of a woman", "a photo of a man"}
    for prompt, latents in found.items():
        noise = torch.stack([initial_noise(prompt, i, backbone.latent_shape, 0, LEARNING) for i in range(2)])
        by_hand, neutral = (
            sampling(backbone, noise, backbone.encode_prompts([said]).expand(2))
            for said in (prompt, "a photo of a person")
        )
        torch.testing.assert_close(latents[:2], by_hand, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(latents[:2], neutral, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("method", "frequency"), [("prompt", "haar"), ("h_guidance", "fft"), ("pca", "fft")])
def test_low_frequencies_can_be_switched_on(
    cli: Cli, study: list[str], tmp_path: Path, method: str, frequency: str
) -> None:
    shown = {}
    for choice in ("none", frequency):
        run_dir = tmp_path / choice
        outcome = cli(*study, f"method={method}", f"frequency={choice}", f"hydra.run.dir={run_dir}")
        assert outcome.code == 0, outcome.error
        shown[choice] = load_images([p.edited for p in read_manifest(run_dir / "manifest.csv")])
    assert not torch.equal(shown["none"], shown[frequency])


def test_focused_learns_the_attributes_that_it_keeps_once_for_all(
    cli: Cli, arguments: list[str], tmp_path: Path
) -> None:
    stages = "stages=[concepts,masks,training]"
    for name in ("gender", "age", "skin_tone"):
        outcome = cli(*arguments, "method=focused", f"attribute={name}", stages, f"hydra.run.dir={tmp_path / name}")
        assert outcome.code == 0, outcome.error
    vectors = {path.parent for path in (tmp_path / "cache").glob("*/*.safetensors") if path.stem == "tan"}
    assert len(vectors) == 1
    assert len(list(vectors.pop().glob("*.safetensors"))) == 7
