"""The script that chooses strengths, on a run of the tiny world."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hspace_exp.methods.h_guidance import HGuidance
from hspace_exp.methods.steering import Application, Steering

SCRIPT = Path(__file__).parents[2] / "experiments" / "h_space_comparison" / "choose_strength.py"


def test_strengths_are_tried_on_validation_images_with_the_methods_own_edit(
    cli: Callable[..., Any], arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir, out = tmp_path / "run", tmp_path / "strength.json"
    training = [*arguments, "method=h_guidance", "stages=[concepts,masks,training]", f"hydra.run.dir={run_dir}"]
    assert cli(*training).code == 0
    options = ["--strengths", "0", "5", "--images", "2", "--device", "cpu", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(run_dir), *options, "--set", "method.branch=conditional"])
    honest, seen = HGuidance.steer, []

    def spied(self: HGuidance, application: Application, *given: Any) -> Steering:
        seen.append((tuple(dict(application.strength).items()), application.branch))  # type: ignore[call-overload]
        return honest(self, application, *given)

    monkeypatch.setattr(HGuidance, "steer", spied)
    runpy.run_path(str(SCRIPT), run_name="__main__")
    found = json.loads(out.read_text())
    assert (found["method"], found["image_seed"], found["set"]) == ("h_guidance", 1, ["method.branch=conditional"])
    nothing, much = found["rows"]
    assert nothing["n"] == 4
    assert nothing["background_psnr"] is None
    assert all(nothing[f"{name}_kept"] == 1 for name in ("age", "skin_tone", "profession", "scene"))
    assert nothing["success"] == pytest.approx((nothing["success_female"] + nothing["success_male"]) / 2, abs=1e-3)
    assert set(much) == set(nothing)
    assert set(seen) == {((("female", s), ("male", s)), "conditional") for s in (0.0, 5.0)}
    options = ["--strengths", "0", "--images", "2", "--device", "cpu", "--out", str(out), "--opposite"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(run_dir), *options])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    (unedited,) = json.loads(out.read_text())["rows"]
    assert (unedited["n"], unedited["success"]) == (4, 0)  # what is shown was not asked for
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(tmp_path), "--strengths", "1"])
    with pytest.raises(SystemExit, match="no run's folder"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
