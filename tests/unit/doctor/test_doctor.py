"""The command ``python -m hspace_exp doctor``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hspace_exp.doctor.__main__ import main, show


@pytest.fixture(autouse=True)
def _no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_everything_is_named_with_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["models"]["avatars"]["here"]
    assert not found["models"]["sd14"]["here"]
    assert found["models"]["sd14"]["memory_gib"]["training"] == 5.9
    assert all(need["here"] for need in found["experiments"]["gender_fairness"])
    assert not all(need["here"] for need in found["experiments"]["race_fairness"])
    shown = show(found)
    for word in ("sdxl", "avatars", "http://127.0.0.1:9 does not answer", "Segment Anything vit_b", "gender_fairness"):
        assert word in shown
    assert "hf download stabilityai/stable-diffusion-xl-base-1.0 --revision 462165984030d82259a11f" in shown
    assert max(len(line) for line in shown.split("HOW TO GET")[0].splitlines()) < 125
    assert "*" not in shown
    found["machine"]["gpus"] = [{"name": "GPU", "total_gib": 0.5, "free_gib": 0.5}]
    assert "5.9*" in show(found)


def test_one_experiment_is_ready_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--experiment", "gender_fairness"]) == 0
    assert capsys.readouterr().out.endswith("ready\n")
    assert main(["--experiment", "gender_fairness", "model=sdxl", "method=original"]) == 1
    assert "model sdxl: missing; `hf download" in capsys.readouterr().out
    assert main(["--experiment", "gender"]) == 2
    assert "unknown experiment 'gender'" in capsys.readouterr().err
