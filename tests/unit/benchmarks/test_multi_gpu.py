"""One device against two: the rehearsal, what is compared, its page, and the plan of a study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import multi_gpu, report, study
from benchmarks.agreement import Agreement
from benchmarks.findings import Findings
from benchmarks.study import Counts, hours, measured


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_rehearsal_finds_the_same_on_two_processes(tmp_path: Path) -> None:
    out = tmp_path / "multi_gpu.json"
    assert multi_gpu.main(["--out", str(out), "--tiny"]) == 0
    sections = json.loads(out.read_text(encoding="utf-8"))["sections"]
    assert all(bar["held"] for section in sections.values() for bar in section["bars"])
    assert len(sections["several_devices_job"]["bars"]) == 4
    assert report.main([str(out), "--out", str(tmp_path / "p.md")]) == 0


def test_what_differs_is_told_and_held_against_its_bar() -> None:
    found = Findings()
    multi_gpu._compare(found, "2 devices", Agreement(0, 0, 3, {"clip": 0.001, "probe": 0.003}, 0.0, {"fid": 0.01}))
    assert [bar.held for bar in found.bars] == [True, True, True, False]
    assert found.bars[3].value == pytest.approx(0.3)
    assert "most fid by 0.01" in found.notes[0]


def test_the_report_says_where_it_was_measured_and_draws_it_over_the_number_of_gpus(tmp_path: Path) -> None:
    found = Findings(status="done")
    found.bar("images on 2 devices, against 1", 1.9, 1.8)
    for count, seconds in ((1, 4.0), (2, 2.0)):
        found.measure("further images, GPUs", [seconds], images=8, steps=2, over="GPUs", x=count)
    made = {"device": "2 × another", "versions": {}, "git": None, "started": "2026-01-01", "seconds": 1.0}
    found_there = {"made": {**made, "command": "c", "rehearsal": False}}
    file, page = tmp_path / "multi_gpu.json", tmp_path / "p.md"
    file.write_text(json.dumps({**found_there, "sections": {"several_devices_images": found.plain()}}))
    assert report.main([str(file), "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "| images on 2 devices, against 1 | 1.9 × | at least 1.8 × | held | 2 × another | `multi_gpu` |" in text
    assert "## Several GPUs: large images\n\n`multi_gpu`: 2 × another.\n" in text
    assert "| 2 | further images | 2000 | 250 | - |" in text
    assert "0.5 at 2" in (tmp_path / "p_growth.svg").read_text(encoding="utf-8")


def test_hours_are_told_only_where_all_times_are_known(tmp_path: Path) -> None:
    counts = Counts(1, 3600, {"unedited": 3600}, 7200, 0, 0, 0)
    stages = {"generation": 25.6, "training": 48.0, "evaluation": 16.0}
    runs = [{"model": "sd21", "method": "sdid", "stages": {name: {"seconds": s} for name, s in stages.items()}}]
    (tmp_path / "full_size.json").write_text(json.dumps({"tiny": False, "runs": runs}))
    times = measured(tmp_path, "sd21")
    assert {name: round(seconds, 6) for name, (seconds, _) in times.items()} == {"pass": 0.1, "row": 0.1, "pair": 1.0}
    assert hours(counts, times) == "not measured: s/map"
    assert hours(counts, {**times, "map": (1.0, "")}) == "1"  # 0.1 + 0.2 + 1.0 hours, rounded
    assert measured(tmp_path, "sdxl") == {}


def test_the_plan_counts_what_is_shared_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(study, "ATTRIBUTES", ("gender",))
    monkeypatch.setattr(study, "METHODS", ("original", "sdid", "score_matching"))
    assert study.main(["--protocol", "full"]) == 0
    text = capsys.readouterr().out
    assert "3 jobs a model, 9 in all" in text
    assert "| unedited, passes | 14,400 |" in text
    assert "| edited, passes | 43,200 |" in text  # score_matching takes the unedited runs along
    assert "| learnt from, passes | 10,240 |" in text  # 2 concepts x 256 images x 20 steps, for both methods
    assert "| rows of optimiser steps | 48,000 |" in text  # 2 concepts x 2,000 steps x 8 rows, and x 4
