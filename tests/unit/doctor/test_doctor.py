"""The command ``hspace-exp doctor``."""

from __future__ import annotations

from pathlib import Path

import pytest

from hspace_exp.commands import start
from hspace_exp.doctor import overview as doctor
from hspace_exp.doctor.overview import GIB


@pytest.fixture(autouse=True)
def _no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_everything_is_named_with_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["doctor"]) == 0
    shown = capsys.readouterr().out
    for word in ("sdxl", "avatars", "http://127.0.0.1:9 does not answer", "Segment Anything vit_b", "gender_fairness"):
        assert word in shown
    rows = [line.split() for line in shown.splitlines()]
    assert ["avatars", "yes", *["small"] * 4] in rows
    assert ["sd14", "no", "5.9", "5.9", "4.6", "5.2"] in rows
    assert ["gender_fairness", "yes"] in rows
    assert any(row[:2] == ["race_fairness", "no"] for row in rows)
    assert "hf download stabilityai/stable-diffusion-xl-base-1.0 --revision 462165984030d82259a11f" in shown
    assert max(len(line) for line in shown.split("HOW TO GET")[0].splitlines()) < 125
    assert "*" not in shown


def test_what_is_too_large_for_the_gpu_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda index: "a GPU")
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda index: (GIB // 4, GIB // 2))
    monkeypatch.setattr(doctor, "choices", lambda group: ["avatars", "sd14"] if group == "model" else [])
    monkeypatch.setattr(doctor, "CHECKPOINTS", ())
    shown = doctor.overview()
    assert "GPUs: a GPU, 0.5 GiB, 0.2 free" in shown
    assert "5.9*" in shown


def test_one_experiment_is_ready_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["doctor", "--experiment", "gender_fairness"]) == 0
    assert capsys.readouterr().out.endswith("ready\n")
    assert start(["doctor", "--experiment", "gender_fairness", "model=sdxl", "method=original"]) == 1
    assert "model sdxl: missing; `hf download" in capsys.readouterr().out
    assert start(["doctor", "--experiment", "gender"]) == 2
    assert "unknown experiment 'gender'" in capsys.readouterr().err
