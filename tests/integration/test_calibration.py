"""``method.strength=auto`` through the command line, and noises that nothing reported shares."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hspace_exp.generation.generate as generation
import hspace_exp.training.dataset as dataset
import hspace_exp.training.on_policy as on_policy
from hspace_exp.concepts.concept import load_concept
from hspace_exp.generation.manifest import read_manifest
from hspace_exp.io.seeding import LEARNING, REPORT, VALIDATION, initial_noise
from hspace_exp.results.record import read_record

AUTO = (
    "method.strength=auto",
    "calibration.images=3",
    "calibration.points=3",
    "calibration.professions=[teacher,cook]",
)


@pytest.mark.parametrize("method", ["focused", "h_guidance"])
def test_a_run_finds_its_strengths_and_tells_them_everywhere(
    cli: Callable[..., Any], arguments: list[str], tmp_path: Path, method: str
) -> None:
    run_dir = tmp_path / "run"
    command = (*arguments, *AUTO, f"method={method}", f"hydra.run.dir={run_dir}")
    outcome = cli(*command)
    assert outcome.code == 0, outcome.error
    told = json.loads((run_dir / "calibration.json").read_bytes())
    record = read_record(run_dir)
    assert record.details["calibration"] == told
    assert record.config["method"]["strength"] == "auto"
    assert set(told["concepts"]) == {"female", "male"}
    assert (run_dir / "calibration.png").stat().st_size > 1000
    assert (run_dir / "calibration.pdf").read_bytes().startswith(b"%PDF")
    strengths = {name: one["strength"] for name, one in told["concepts"].items()}
    for name, one in told["concepts"].items():
        assert one["strength"] in {0.25, 2.0, 16.0}  # the grid
        assert all(0 <= point["success"] <= 1 for point in one["curve"])
        hyperparameters = load_concept(run_dir / "concepts" / f"{name}.safetensors").hyperparameters
        assert hyperparameters["strength"] == one["strength"]
        assert hyperparameters["guidance_scale"] == told["guidance_scale"]
    assert {pair.target: pair.strength for pair in read_manifest(run_dir / "manifest.csv")} == strengths
    assert sum(point["images"] for one in told["concepts"].values() for point in one["curve"]) > 0
    (run_dir / "record.json").unlink()
    assert cli(*command).code == 0
    assert json.loads((run_dir / "calibration.json").read_bytes()) == told  # from the cache
    assert read_record(run_dir).metrics == record.metrics


def test_without_the_stage_a_strength_is_asked_for(
    cli: Callable[..., Any], arguments: list[str], tmp_path: Path
) -> None:
    stages = "stages=[concepts,masks,training,generation]"
    outcome = cli(*arguments, "method=sdid", "method.strength=auto", stages, f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.code != 0
    assert "run the stage calibration, or say method.strength=" in outcome.error


SLOW = [
    pytest.param(name, marks=pytest.mark.slow) for name in ("sdid", "score_matching", "respodiff", "pca", "h_guidance")
]


@pytest.mark.parametrize("method", ["lwim", "focused", *SLOW])
def test_no_reported_image_shares_its_noise_with_what_is_learnt_or_tuned_on(
    cli: Callable[..., Any], arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    drawn: dict[str, set[tuple[str, int, int]]] = {REPORT: set(), LEARNING: set(), VALIDATION: set()}

    def noise(prompt: str, index: int, shape: Any, base_seed: int = 0, domain: str = REPORT) -> Any:  # noqa: ANN401
        drawn[domain].add((prompt, index, base_seed))
        return initial_noise(prompt, index, shape, base_seed, domain)

    for module in (generation, dataset, on_policy):
        monkeypatch.setattr(module, "initial_noise", noise)
    outcome = cli(*arguments, *AUTO, f"method={method}", f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.code == 0, outcome.error
    assert all(drawn.values())  # every noise is drawn through the one function, and each domain was used
    first = [
        tuple(initial_noise(prompt, index, (1, 2, 2), base, domain).flatten().tolist())
        for domain, some in drawn.items()
        for prompt, index, base in some
    ]
    assert len(first) == len(set(first))


def test_a_run_at_another_guidance_scale_shares_vectors_and_calibration(
    cli: Callable[..., Any], arguments: list[str], tmp_path: Path
) -> None:
    found = []
    for scale in ("null", "2.0"):
        run_dir = tmp_path / scale
        command = (*arguments, *AUTO, "method=sdid", f"protocol.guidance_scale={scale}", f"hydra.run.dir={run_dir}")
        outcome = cli(*command)
        assert outcome.code == 0, outcome.error
        found.append(json.loads((run_dir / "calibration.json").read_bytes()))
        assert ("training" in read_record(run_dir).seconds) == (scale == "null")
    assert found[0] == found[1]
