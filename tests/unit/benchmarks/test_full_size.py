"""The rehearsal of the measurement at full size: every stage is timed and the file is whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.full_size import main


@pytest.mark.slow
def test_the_rehearsal_reports_every_stage(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    options = ["--tiny", "--models", "sd14", "--methods", "sdid", "--out", str(out), "model.checkpointing=false"]
    assert main(options) == 0
    (run,) = json.loads(out.read_text())["runs"]
    assert {"loading", "concepts", "training", "generation", "evaluation"} <= set(run["stages"])
    assert run["metrics"] > 5
    assert run["model_config"]["checkpointing"] is False
    assert run["estimate_gib"]["training"] > run["estimate_gib"]["weights"]


def test_unknown_models_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--models", "sd9"])
    assert "unknown model 'sd9'" in capsys.readouterr().err
