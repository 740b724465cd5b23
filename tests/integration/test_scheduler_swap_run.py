"""Vectors learnt with one sampler, used with another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hspace_exp.concepts.concept import load_concept
from hspace_exp.generation.manifest import read_manifest
from hspace_exp.io.images import load_images
from hspace_exp.results.record import read_record


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' DPM-Solver on NumPy 2
@pytest.mark.parametrize("method", ["sdid", "focused"])
def test_a_swapped_sampler_paints_other_images_with_the_same_vectors(
    cli: Callable[..., Any], arguments: list[str], tmp_path: Path, method: str
) -> None:
    images, vectors = [], []
    for scheduler in (["scheduler=native"], ["scheduler=swapped"], ["scheduler=swapped", "scheduler.kind=ddim"]):
        run_dir = tmp_path / str(len(images))
        outcome = cli(*arguments, f"method={method}", *scheduler, f"hydra.run.dir={run_dir}")
        assert outcome.code == 0, outcome.error
        assert ("training" in read_record(run_dir).seconds) == (scheduler == ["scheduler=native"])
        vectors.append(load_concept(run_dir / "concepts" / "female.safetensors").vector)
        images.append(load_images([p.original for p in read_manifest(run_dir / "manifest.csv")]))
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])  # the tiny model's own sampler is DDIM, too


def test_more_steps_paint_other_images_with_the_same_vectors(
    cli: Callable[..., Any], arguments: list[str], tmp_path: Path
) -> None:
    learnt = steps_of(arguments)
    images, vectors = [], []
    for steps in (learnt, learnt + 2):
        run_dir = tmp_path / str(steps)
        own = (f"protocol.num_inference_steps={steps}", f"protocol.learning_inference_steps={learnt}")
        outcome = cli(*arguments, "method=focused", "method.strength=auto", *own, f"hydra.run.dir={run_dir}")
        assert outcome.code == 0, outcome.error
        assert ("training" in read_record(run_dir).seconds) == (steps == learnt)
        vectors.append(load_concept(run_dir / "concepts" / "female.safetensors").vector)
        images.append(load_images([p.original for p in read_manifest(run_dir / "manifest.csv")]))
    assert torch.equal(*vectors)
    assert not torch.equal(*images)
    told = [read_record(tmp_path / str(steps)).details["calibration"]["concepts"] for steps in (learnt, learnt + 2)]
    assert told[0] == told[1]  # strengths are found with the steps of learning, too


def steps_of(arguments: list[str]) -> int:
    return next(int(one.split("=")[1]) for one in arguments if one.startswith("protocol.num_inference_steps="))
