"""Generation in several processes: the same images, manifest and record as in one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def test_two_processes_end_with_the_record_of_one(
    cli: Callable[..., Any], arguments: list[str], tmp_path: Path
) -> None:
    records, pictures, manifests = [], [], []
    for count in (1, 2):
        run = tmp_path / f"run{count}"
        own = [f"trainer.devices={count}", f"paths.cache={tmp_path / f'cache{count}'}", f"hydra.run.dir={run}"]
        outcome = cli(*[one for one in arguments if "paths.cache" not in one], "method=sdid", *own)
        assert outcome.code == 0, outcome.error
        records.append(json.loads((run / "record.json").read_text()))
        manifests.append((run / "manifest.csv").read_text())
        files = sorted((run / "images").rglob("*.png"))
        pictures.append([np.asarray(Image.open(file), dtype=float) for file in files])
    log = (tmp_path / "run2" / ".helpers" / "1.log").read_text()
    assert "done with generation" in log
    assert manifests[0] == manifests[1]
    assert len(pictures[0]) == len(pictures[1]) == 8
    assert all(np.abs(a - b).max() <= 1 for a, b in zip(*pictures, strict=True))
    assert records[0]["config_digest"] == records[1]["config_digest"]
    one, two = ({name: m["value"] for name, m in record["metrics"].items()} for record in records)
    assert one.keys() == two.keys()
    assert all(abs(one[name] - two[name]) < 1e-3 for name in one if one[name] is not None and two[name] is not None)
