"""A run leaves prompts alone that name the attribute themselves."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.mark.parametrize("respect", [True, False])
def test_explicit_prompts_are_left_alone(
    cli: Callable[..., Any], study: list[str], tmp_path: Path, respect: bool
) -> None:
    run = tmp_path / "run"
    given = ["method=sdid", "prompts.templates=['a photo of {a} {profession}','a photo of a male {profession}']"]
    outcome = cli(*study, *given, f"respect_prompt={str(respect).lower()}", f"hydra.run.dir={run}")
    assert outcome.code == 0, outcome.error
    with (run / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    explicit = [row for row in rows if " male " in row["prompt"]]
    assert len(explicit) == len(rows) / 2
    assert all(bool(row["target"]) == (not respect) for row in explicit)
    assert all(row["target"] for row in rows if row not in explicit)
    for row in explicit if respect else []:
        before, after = (np.asarray(Image.open(run / row[kind]), float) for kind in ("original", "edited"))
        assert np.abs(before - after).max() <= 1
