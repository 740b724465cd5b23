"""The shipped model through the real command line, as a newcomer runs it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hspace_exp.avatars import EMBEDDED
from hspace_exp.results.record import read_record

Process = Callable[..., "subprocess.Popen[str]"]
COMMON = ("+experiment=gender_fairness", "protocol=smoke", "logger=none", "device=cpu", "evaluator.labelled=0")


@pytest.mark.skipif(not (EMBEDDED / "unet").is_dir(), reason="the embedded weights are not there")
def test_the_unedited_model_is_biased_and_paints(cli: Callable[..., Any], tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    small = ("protocol.professions=[nurse,carpenter]", "protocol.images_per_profession=2", f"paths.cache={tmp_path}")
    outcome = cli(*COMMON, "method=original", *small, "evaluator.repeats=20", f"hydra.run.dir={run_dir}")
    assert outcome.code == 0, outcome.error
    record = read_record(run_dir)
    counts = {row["profession"]: row["counts"] for row in record.per_profession}
    assert counts["nurse"]["female"] == 2
    assert counts["carpenter"]["male"] == 2
    image = np.asarray(Image.open(run_dir / "images" / "original" / "nurse" / "0000.png"))
    assert image.shape == (128, 128, 3)
    assert image.std() > 20


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sdid", "lwim"])
def test_the_smoke_protocol_learns_something(process: Process, tmp_path: Path, method: str) -> None:
    run_dir = tmp_path / "run"
    running = process(*COMMON, f"method={method}", f"paths.cache={tmp_path}", f"hydra.run.dir={run_dir}")
    _, error = running.communicate(timeout=290)
    assert running.returncode == 0, error
    record = read_record(run_dir)
    assert record.metrics["success"].value is not None
    assert record.metrics["success"].value > 0.5
    assert sum(record.seconds.values()) < 250
