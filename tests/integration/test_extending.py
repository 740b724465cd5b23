"""A method of one's own, as the README's recipe adds it: a module, a YAML, and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hspace_exp.concepts.concept import load_concept

OBJECTIVE = '''
from hspace_exp.methods.learning import Objective
from hspace_exp.models.hspace import HEdit


class Absolute(Objective):
    """E |target - unet(z_t, t, neutral; h + v)|: SDID with another norm."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def __call__(self, backbone, vectors, batch):
        error = batch.training_target() - batch.predict(backbone, HEdit(vector=vectors))
        return self.scale * error.abs().mean((1, 2, 3))
'''
YAML = """
defaults: [sdid]
name: mine
training:
  objective: {_target_: my_methods.Absolute, scale: 2.0}
  optimizer: {_target_: torch.optim.SGD, _partial_: true, lr: 50.0}
"""


def test_own_method(
    cli: Callable[..., Any], arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine" / "method").mkdir(parents=True)
    (tmp_path / "mine" / "method" / "mine.yaml").write_text(YAML)
    (tmp_path / "my_methods.py").write_text(OBJECTIVE)
    monkeypatch.syspath_prepend(str(tmp_path))
    vectors = {}
    for scale in (2.0, 4.0):
        run_dir = tmp_path / f"run{scale}"
        own = [
            "method=mine",
            "trust=[my_methods]",
            f"method.training.objective.scale={scale}",
            f"hydra.run.dir={run_dir}",
        ]
        outcome = cli("--config-dir", str(tmp_path / "mine"), *arguments, *own)
        assert outcome.code == 0, outcome.error
        record = json.loads((run_dir / "record.json").read_text())
        assert record["method"] == "mine"
        objective = record["config"]["method"]["training"]["objective"]
        assert (objective["_target_"], objective["scale"]) == ("my_methods.Absolute", scale)
        concept = load_concept(run_dir / "concepts" / "female.safetensors")
        assert (concept.method, concept.hyperparameters["unet_evaluations"]["backward"]) == ("mine", 24)
        vectors[scale] = concept.vector
    # The gradient is the sum of signs, nearly the same at each step, so twice the scale is about twice the vector.
    ratio = (vectors[4.0] * vectors[2.0]).sum() / vectors[2.0].square().sum()
    assert vectors[2.0].abs().max() > 0
    assert 1.5 < ratio < 2.5
    assert torch.isfinite(vectors[4.0]).all()
