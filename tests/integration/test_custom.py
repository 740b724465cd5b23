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


@pytest.mark.parametrize("asked", [[*WORDS], ["protocol.assignment=female"]], ids=["custom", "female"])
def test_shares_of_values_are_told_of_unedited_images_alone_where_all_are_asked_for_one(
    cli: Callable[..., Any], arguments: list[str], tmp_path: Path, asked: list[str]
) -> None:
    records = {}
    for method in ("original", "sdid"):
        outcome = cli(*arguments, *asked, f"method={method}", f"hydra.run.dir={tmp_path / 'runs' / method}")
        assert outcome.code == 0, outcome.error
        records[method] = json.loads((tmp_path / "runs" / method / "record.json").read_text())
        assert ("Deviation ratio" in outcome.error) == (method == "original")
    gone = set(records["original"]["metrics"]) - set(records["sdid"]["metrics"])
    probed = {"deviation_ratio_probe", "bias_amplification"} if len(asked) == 1 else set()
    assert gone == {"deviation_ratio", *probed}
    assert not gone & set(records["sdid"]["per_profession"][0])
    assert {"success", "background_psnr", "entanglement", "fid"} <= set(records["sdid"]["metrics"])
    outcome = cli("tables", str(tmp_path / "runs"))
    assert outcome.code == 0, outcome.error
    lines = [line for line in outcome.output.splitlines() if line.startswith(("| original", "| sdid"))]
    assert [line.split("|")[2].strip() == "-" for line in lines[:2]] == [False, True]
    assert cli("report", str(tmp_path / "runs")).code == 0


def test_missing_words_are_one_line(cli: Callable[..., Any], arguments: list[str], tmp_path: Path) -> None:
    outcome = cli(*arguments, *WORDS[:2], "method=sdid", f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.code == 2
    assert "attribute.neutral" in outcome.error
    assert len(outcome.error.strip().splitlines()) == 1
