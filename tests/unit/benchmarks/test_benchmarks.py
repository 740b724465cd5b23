from __future__ import annotations

import json
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from benchmarks import faster, models, ours, report, run
from benchmarks.bench import Bench, within
from benchmarks.command import command
from benchmarks.findings import AT_MOST, Findings
from benchmarks.report_growth import growth_plot, growth_tables
from benchmarks.result_files import read
from benchmarks.sections.generation import _released
from benchmarks.sections.utilisation import step_flops
from hspace_exp.models.backbone import Backbone


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return models.stable_diffusion(torch.device("cpu"), tiny=True)


def test_a_section_runs_and_its_report_reads_it(tmp_path: Path) -> None:
    out, doc = tmp_path / "r.json", tmp_path / "performance.md"
    assert run.main(["--out", str(out), "--tiny", "--only", "sdid_training"]) == 0
    results = json.loads(out.read_text(encoding="utf-8"))
    section = results["sections"]["sdid_training"]
    assert section["status"] == "done"
    assert len(section["bars"]) == 2
    assert all(m["median"] > 0 for m in section["measures"])
    assert results["made"]["rehearsal"]
    assert report.main([str(out), "--out", str(doc)]) == 0
    text = doc.read_text(encoding="utf-8")
    assert "A rehearsal at toy size" in text
    for bar in section["bars"]:
        assert f"| {bar['name']} | {bar['value']:.3g} × |" in text
    assert "--out benchmarks/results/r.json" in text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler warns of what it meets
@pytest.mark.parametrize("section", sorted(set(run.SECTIONS) - {"sdid_training"}))
def test_every_section_rehearses_to_its_end(section: str, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    assert run.main(["--out", str(out), "--tiny", "--only", section]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))["sections"][section]
    assert (found["status"], found["error"]) == ("done", "")
    assert found["measures"]
    assert found["bars"] or section == "growth"
    assert not [note for note in found["notes"] if "failed" in note or "Error" in note]


def test_a_section_that_fails_or_does_not_fit_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(bench: Bench) -> None:
        bench.found.measure("before", [2.0, 1.0, 4.0])
        raise RuntimeError("out of memory")

    monkeypatch.setattr("benchmarks.sections.growth.measure", broken)
    out = tmp_path / "r.json"
    assert run.main(["--out", str(out), "--tiny", "--only", "growth"]) == 1
    section = json.loads(out.read_text(encoding="utf-8"))["sections"]["growth"]
    assert (section["status"], section["error"]) == ("failed", "RuntimeError: out of memory")
    assert section["measures"][0]["median"] == 2.0
    assert "out of memory" in report.page([read(out)])
    assert run.main(["--out", str(out), "--tiny", "--only", "growth", "--max-seconds", "0"]) == 0
    assert json.loads(out.read_text(encoding="utf-8"))["sections"]["growth"]["status"] == "left out"


@pytest.mark.timeout(0)  # it uses the same alarm
def test_what_takes_too_long_is_stopped() -> None:
    with pytest.raises(TimeoutError, match="no time was left"), within(1.0):
        time.sleep(30)


def test_unknown_sections_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["--out", str(tmp_path / "r.json"), "--only", "grwth"])
    assert "growth" in capsys.readouterr().err


def test_bars_know_their_side() -> None:
    found = Findings()
    found.bar("ratio", 3.0, 3.0)
    found.bar("time", 1.03, 1.02, AT_MOST)
    found.unmeasured("other", 3.0)
    assert [bar["held"] for bar in found.plain()["bars"]] == [True, False, None]


def test_the_released_inference_is_not_judged_by_other_wavelets(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.reference_inference.find_spec", lambda name: None)
    bench = Bench(torch.device("cpu"), tiny=True)
    noise, vector = torch.zeros(1, *backbone.latent_shape), torch.zeros(backbone.h_shape[0], 1, 1)
    _released(bench, backbone, vector, noise, {"edited": 1.0, "unedited": 2.0})
    assert [bar.held for bar in bench.found.bars] == [None, None]
    assert "pip install 'PyWavelets" in bench.found.notes[0]


def test_a_report_of_no_results_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(tmp_path / "none.json"), "--out", str(tmp_path / "p.md")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_readings_show_columns_that_hold_something() -> None:
    found = Findings()
    found.measure("step", [0.5, 0.25, 1.0], images=8)
    plain = report._measures(found.measures)
    assert plain.splitlines()[0] == "|  | median | range | repeats | images/s |"
    assert "| step | 0.5 s | 0.25 to 1 | 3 | 16 |" in plain
    found.measures[0]["share_of_peak"] = 41.25
    assert "| 16 | 41.2 % |" in report._measures(found.measures)


def test_growth_is_a_table_for_each_thing_and_a_plot() -> None:
    measures = [
        {"name": f"training step, {over}", "over": over, "x": x, "median": 0.1 * x**0.5, "images": x}
        for over in ("batch", "concepts")
        for x in (1, 4)
    ]
    text = growth_tables(measures)
    assert "| 4 | training step | 200 | 50 | - |" in text
    assert growth_plot(measures).count("time, training step") == 2
    assert "0.5 at 4" in growth_plot(measures)
    ElementTree.fromstring(growth_plot(measures))
    for measure in measures:
        measure["peak_gib"] = 2.0
    assert growth_plot(measures).count("GiB, training step, ") == 2
    assert growth_plot([]) == ""


def results_of(path: Path, started: str, device: str, **sections: dict) -> Path:
    made = {"device": device, "started": started, "git": {"commit": "0" * 40}, "command": "c", "versions": {}}
    path.write_text(json.dumps({"made": made | {"rehearsal": False, "seconds": 1.0}, "sections": sections}))
    return path


def test_the_newest_whole_reading_of_a_section_is_shown_with_its_device(tmp_path: Path) -> None:
    def section(status: str, value: float | None) -> dict:
        found = Findings(status=status)
        found.measure("step", [1.0])
        if value is None:
            found.unmeasured("ratio", 3.0)
        else:
            found.bar("ratio", value, 3.0)
        return found.plain()

    left_out = Findings(status="left out").plain()
    late = results_of(
        tmp_path / "late.json", "2026-02-01", "B", growth=section("failed", 9.0), generation=section("done", None)
    )
    early = results_of(
        tmp_path / "early.json", "2026-01-01", "A", growth=section("done", 4.0), generation=section("done", 5.0)
    )
    latest = results_of(tmp_path / "latest.json", "2026-03-01", "C", generation=left_out)
    text = report.page([read(path) for path in (late, latest, early)])
    assert "| ratio | 4 × | at least 3 × | held | A | `early` |" in text
    assert "| ratio | - | at least 3 × | **not measured** | B | `late` |" in text
    assert text.count("| ratio |") == 2
    assert "| `latest` | `000000000000` | 2026-03-01 |" in text


def test_the_memory_of_the_main_job_is_compared_with_cards(tmp_path: Path) -> None:
    def job(model: str, peak: float) -> dict:
        stage = {"peak_gib": peak, "reserved_gib": peak + 1, "seconds": 2.0}
        estimate = {"training": 5.0, "generation": 3.0, "decoding": 4.0}
        return {"model": model, "method": "sdid", "stages": {"training": stage}, "estimate_gib": estimate}

    path, jobs = tmp_path / "full.json", [job("sd14", 7.6), job("sdxl", 20.0)]
    found = {"device": "D", "versions": {}, "git": None, "command": "c", "tiny": False, "limit_gib": None, "runs": jobs}
    path.write_text(json.dumps(found))
    text = report.page([read(path)])
    assert "| sd14, sdid | - | - | 7.6 (8.6) | 5.0 | - | 4.0 | - | **not 8 GiB** |" in text
    assert "| sdxl, sdid | - | - | 20.0 (21.0) | 5.0 | - | 4.0 | - | 24 GiB |" in text
    path.write_text(json.dumps(found | {"limit_gib": 24.0}))
    assert "| ran in 24 GiB |" in report.page([read(path)])


def test_commands_are_quoted_without_the_folders_of_one_machine() -> None:
    words = ["--out", "/some/where/h100.json", "--only", "growth"]
    assert command("benchmarks.run", words) == (
        "python -m benchmarks.run --out benchmarks/results/h100.json --only growth"
    )


def test_the_clock_reads_groups_of_steps(backbone: Backbone) -> None:
    bench = Bench(torch.device("cpu"), tiny=True)
    examples = ours.noised(backbone, 2, 2)
    seconds = ours.time_training(bench, "step", backbone, ours.sdid(2), examples, ours.named(2))
    kept = bench.found.measures[0]
    assert kept["images"] == 4
    assert kept["repeats"] == 2
    assert kept["low"] <= seconds <= kept["high"]


def test_keeping_the_first_half_leaves_less_work(backbone: Backbone) -> None:
    training = ours.score_matching(2)
    fresh = step_flops(backbone, training, ours.noised(backbone, 2))
    kept = step_flops(backbone, training, ours.on_policy(backbone, 2, 8))
    assert 1.5 < fresh / kept < 4


def test_faster_ways_change_no_prediction_and_leave_the_unet_alone(backbone: Backbone) -> None:
    batch = ours.noised(backbone, 2).draw(0)
    plain = backbone.predict(batch.latents, batch.timesteps, batch.embeds)
    with faster.channels_last(backbone.unet):
        assert backbone.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
        found = backbone.predict(batch.latents, batch.timesteps, batch.embeds)
        torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)
    with faster.cudnn_attention():
        found = backbone.predict(batch.latents, batch.timesteps, batch.embeds)
        torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)
    assert torch.equal(backbone.predict(batch.latents, batch.timesteps, batch.embeds), plain)
