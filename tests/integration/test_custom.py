"""An attribute from words alone, through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WORDS = ["attribute=custom", "attribute.positive=a photo of a smiling person", "attribute.neutral=a photo of a person"]


@pytest.mark.parametrize("method", ["sdid", "focused"])
def test_a_concept_from_words_alone_ends_with_a_record(
    cli: Callable[..., Any], arguments: list[str], tmp_path: Path, method: str
) -> None:
    run = tmp_path / "run"
    outcome = cli(*arguments, *WORDS, f"method={method}", f"hydra.run.dir={run}")
    assert outcome.code == 0, outcome.error
    record = json.loads((run / "record.json").read_text())
    assert (run / "concepts" / "smiling.safetensors").exists()
    assert record["attribute"] == "custom"
    assert record["metrics"]["success"]["n"] == 4
    assert record["config"]["attribute"]["concepts"]["smiling"]["words"] == "smiling"


def test_missing_words_are_one_line(cli: Callable[..., Any], arguments: list[str], tmp_path: Path) -> None:
    outcome = cli(*arguments, *WORDS[:2], "method=sdid", f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.code == 2
    assert "attribute.neutral" in outcome.error
    assert len(outcome.error.strip().splitlines()) == 1
