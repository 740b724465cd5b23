"""Two processes: the same curves, vectors, images, manifest and record as one."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hspace_exp.concepts.concept import load_concept


def test_two_processes_end_with_the_record_of_one(
    cli: Callable[..., Any], arguments: list[str], tmp_path: Path
) -> None:
    records, pictures, manifests, judged, vectors, losses = [], [], [], [], [], []
    own = [one for one in arguments if not one.startswith(("paths.cache", "logger"))]
    own += ["method=focused", "+model.rows_at_once=3", "trainer.strategy=ddp", "+evaluator.batch_size=1"]
    own += ["logger=csv", "trainer.log_every_n_steps=2"]
    for count in (1, 2):
        run = tmp_path / f"run{count}"
        place = [f"trainer.devices={count}", f"paths.cache={tmp_path / f'cache{count}'}", f"hydra.run.dir={run}"]
        outcome = cli(*own, *place)
        assert outcome.code == 0, outcome.error
        records.append(json.loads((run / "record.json").read_text()))
        manifests.append((run / "manifest.csv").read_text())
        judged.append((run / "judged.csv").read_text())
        vectors.append([load_concept(file).vector for file in sorted((run / "concepts").glob("*.safetensors"))])
        with (run / "metrics.csv").open(newline="") as curves:
            row = next(csv.DictReader(curves))
            losses.append([float(value) for name, value in row.items() if name.startswith("loss/")])
        files = sorted((run / "images").rglob("*.png"))
        pictures.append([np.asarray(Image.open(file), dtype=float) for file in files])
    log = (tmp_path / "run2" / ".helpers" / "1.log").read_text()
    assert all(f"done with {stage}" in log for stage in ("training", "generation", "evaluation"))
    assert "helper 1 failed" not in outcome.error
    assert manifests[0] == manifests[1]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert len(losses[0]) == len(vectors[0]) == len(vectors[1]) == 7
    for one, two in zip(*vectors, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-3)  # Adam makes much of gradients that are next to none
    assert len(pictures[0]) == len(pictures[1]) == 8
    assert all(np.abs(a - b).max() <= 1 for a, b in zip(*pictures, strict=True))
    assert records[0]["config_digest"] == records[1]["config_digest"]
    first, second = ({name: m["value"] for name, m in record["metrics"].items()} for record in records)
    assert first.keys() == second.keys()
    both = [name for name in first if first[name] is not None and second[name] is not None]
    assert {name: second[name] for name in both} == pytest.approx({name: first[name] for name in both}, 1e-3, 1e-3)
    assert judged[0].count("\n") == judged[1].count("\n")
