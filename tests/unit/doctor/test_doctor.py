"""The command ``hspace-exp doctor``."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from hspace_exp.commands import start
from hspace_exp.config.command_line import CONF
from hspace_exp.config.schema import register
from hspace_exp.doctor import overview as doctor
from hspace_exp.doctor.needs import MAPPED, PLACES, needs_in


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
    assert "race_fairness" in shown
    assert "hf download stabilityai/stable-diffusion-xl-base-1.0 --revision 462165984030d82259a11f" in shown
    assert max(len(line) for line in shown.split("HOW TO GET")[0].splitlines()) < 125
    assert "*" not in shown


def test_what_is_too_large_for_the_gpu_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'a GPU, of 2, 5120, 3174'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    shown = doctor.overview()
    assert "GPUs: a GPU, of 2, 5.0 GiB, 3.1 free" in shown
    assert "5.9*" in shown
    assert "4.6*" not in shown
    driver.write_text("#!/bin/sh\nexit 9\n")
    assert "GPUs: none" in doctor.overview()


@pytest.mark.parametrize("group", ["model", "evaluator", "mask"])
def test_a_file_is_read_as_hydra_puts_it_together(group: str) -> None:
    register()
    for name in doctor.choices(group):
        if name == "none":
            continue
        asked = doctor.needs_of_choice(f"{group}={name}")
        composed = OmegaConf.to_container(doctor.composed([f"{group}={name}", "device=auto"]), resolve=True)
        assert asked == needs_in(composed[group]), name  # type: ignore[index,call-overload]


def test_places_are_those_of_the_libraries() -> None:
    import open_clip
    from torchvision.models import get_model_weights

    for name, place in PLACES.items():
        if " " in name:
            assert open_clip.get_pretrained_cfg(*name.split())["hf_hub"].strip("/") == place
        else:
            assert next(iter(get_model_weights(name))).url == place


def test_objectives_that_need_maps_are_known() -> None:
    for file in sorted((CONF / "method").glob("*.yaml")):
        target = str((composed_method(file.stem).get("training") or {}).get("objective", {}).get("_target_", ""))
        if target:
            assert getattr(pkgutil.resolve_name(target), "needs_maps", False) == target.startswith(MAPPED)


def composed_method(name: str) -> Any:
    return OmegaConf.to_container(doctor.composed([f"method={name}"]).method)


def test_looking_imports_no_torch() -> None:
    code = "import sys; from hspace_exp.doctor.overview import overview; overview(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_experiment_is_ready_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert start(["doctor", "--experiment", "gender_fairness"]) == 0
    assert capsys.readouterr().out.endswith("ready\n")
    assert start(["doctor", "--experiment", "gender_fairness", "model=sdxl", "method=original"]) == 1
    assert "model sdxl: missing; `hf download" in capsys.readouterr().out
    assert start(["doctor", "--experiment", "gender"]) == 2
    assert "unknown experiment 'gender'" in capsys.readouterr().err
