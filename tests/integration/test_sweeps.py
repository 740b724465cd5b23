"""Sweeps through the command line: jobs that fail alone, the report at the end, and what an offline W&B run holds."""

from __future__ import annotations

import json
import signal
import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
import yaml
from wandb.proto import wandb_internal_pb2

import hspace_exp.pipeline.learning
import hspace_exp.pipeline.run
from hspace_exp.results.record import RunRecord, read_record

Cli = Callable[..., Any]

BLOCK = 32768
JOINED_END = (1, 4)  # a whole record, the last piece of one


def test_a_failed_job_stops_no_other_and_only_it_is_made_again(
    cli: Cli, sweep: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = tmp_path / "outputs"

    def fail(*arguments: Any) -> None:
        raise RuntimeError("no luck\nat all")

    with monkeypatch.context() as patch:
        patch.setattr(hspace_exp.pipeline.learning, "make_concepts", fail)
        first = cli(*sweep, "method=sdid,original")
    assert first.code == 1
    report = first.error.splitlines()[-3:]
    assert report == [
        "1 of 2 jobs failed:",
        "  gender_fairness/sdid/0: RuntimeError: no luck at all",
        "the same command makes only what is missing",
    ]
    assert "Traceback" in first.error  # of an error that is not the user's
    summary = outputs / "gender_fairness" / "summary.md"
    text = summary.read_text()
    assert "| original |" in text
    assert "- Missing: gender_fairness/sdid/0 failed (RuntimeError: no luck at all)" in text
    assert text in first.output
    assert not (outputs / ".sweeps").exists()

    there = outputs / "gender_fairness" / "original" / "0" / "record.json"
    before = there.stat().st_mtime_ns
    again = cli(*sweep, "method=sdid,original")
    assert again.code == 0, again.error
    assert "jobs failed" not in again.error
    assert again.error.count("nothing to do") == 1
    assert there.stat().st_mtime_ns == before
    text = summary.read_text()
    assert "| original |" in text
    assert "| sdid " in text
    assert "Missing" not in text


@pytest.mark.slow
def test_optuna_gets_the_deviation_ratio_or_the_metrics_that_are_named(
    process: Callable[..., subprocess.Popen[str]], arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    monkeypatch.chdir(tmp_path)
    fixed = [one for one in arguments if not one.startswith("method.strength")]
    search = [*fixed, "mask=attention", "method=sdid", "method.strength=interval(0.5,2)", "hydra/sweeper=optuna"]
    search += ["hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1", "hydra.sweeper.sampler.seed=0"]

    def found(*more: str) -> tuple[dict[str, Any], list[RunRecord]]:
        running = process("-m", *search, *more)
        _, error = running.communicate(timeout=240)
        assert running.returncode == 0, error
        records = [read_record(path) for path in (tmp_path / "outputs").rglob("record.json")]
        return yaml.safe_load((tmp_path / "outputs" / "optimization_results.yaml").read_text()), records

    best, records = found()
    assert len(records) == 2
    assert best["best_value"] == min(record.metrics["deviation_ratio"].value for record in records)
    assert best["best_params"]["method.strength"] in [record.strength for record in records]
    two = "optimized_metric=[success,entanglement]", "hydra.sweeper.direction=[maximize,minimize]"
    best, again = found(*two)
    assert len(again) == 2  # the same trials, which are done: what is optimised makes no other run
    pairs = [[record.metrics[name].value for name in ("success", "entanglement")] for record in records]
    assert all(one["values"] in pairs for one in best["solutions"])

    running = process("-m", *search, "optimized_metric=sucess")
    _, error = running.communicate(timeout=240)
    assert running.returncode == 1
    assert "unknown optimized_metric 'sucess'. Did you mean 'success'?" in error
    assert "Traceback" not in error


def test_wrong_input_of_one_job_is_one_line(cli: Cli, sweep: list[str], tmp_path: Path) -> None:
    outcome = cli(*sweep, "method=original", "seed=-1,0")
    assert outcome.code == 1
    assert "  gender_fairness/original/-1: seed=-1: expected greater than or equal to 0" in outcome.error.splitlines()
    assert "Traceback" not in outcome.error
    assert (tmp_path / "outputs" / "gender_fairness" / "original" / "0" / "record.json").exists()


def test_a_name_that_does_not_exist_starts_no_job(cli: Cli, sweep: list[str], tmp_path: Path) -> None:
    outcome = cli(*sweep, "method=original,sdidd")
    assert outcome.code == 2
    assert outcome.error.splitlines()[-1].startswith("error: unknown method 'sdidd'. Did you mean 'sdid'?")
    assert not list((tmp_path / "outputs").rglob("record.json"))


def test_interrupted_sweeps_go_on(cli: Cli, sweep: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(hspace_exp.pipeline.learning, "make_concepts", stop)
        outcome = cli(*sweep)
    assert outcome.code == 130
    assert outcome.error.splitlines()[-1].startswith("interrupted")
    assert "jobs failed" not in outcome.error
    outputs = tmp_path / "outputs"
    assert [path.parent.parent.name for path in outputs.rglob("record.json")] == ["original"]
    assert not list(tmp_path.rglob("*.part"))
    assert not (outputs / ".sweeps").exists()
    assert not (outputs / "gender_fairness" / "summary.md").exists()
    assert cli(*sweep).code == 0
    assert {path.parent.parent.name for path in outputs.rglob("record.json")} == {"original", "sdid"}


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No W&B key, and no network asked for."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_MODE", "offline")


def artifact(records: Iterable[Any]) -> set[str]:
    """Names of files in the one artifact with results; tables are artifacts, too."""
    every = [r.request.log_artifact.artifact if r.HasField("request") else r.artifact for r in records]
    [kept] = [one for one in every if one.type == "results"]
    return {entry.path for entry in kept.manifest.contents}


@pytest.mark.usefixtures("offline")
def test_what_offline_wandb_runs_of_a_sweep_hold(cli: Cli, sweep: list[str], tmp_path: Path) -> None:
    outcome = cli(*sweep, "logger=wandb", "trainer.log_every_n_steps=1")
    assert outcome.code == 0, outcome.error
    wandb.teardown()  # the end of a run does not wait until its file is written
    groups = set()
    for method in ("original", "sdid"):
        run_dir = tmp_path / "outputs" / "gender_fairness" / method / "0"
        [file] = run_dir.glob("wandb/offline-run-*/*.wandb")
        records = list(wandb_records(file))
        [run] = [r.run for r in records if r.HasField("run")]
        assert (run.project, run.job_type) == ("hspace_exp", method)
        assert run.display_name.endswith(f"gender_fairness/{method}/0")
        groups.add(run.run_group)
        config = {item.key: json.loads(item.value_json) for item in run.config.update}
        assert config["method"]["name"] == method
        assert config["protocol"]["training_steps"] == 3

        history = [pairs(r.history.item) for r in records if r.HasField("history")]
        curve = [row["loss/female"] for row in history if "loss/female" in row]
        assert len(curve) == (3 if method == "sdid" else 0)
        [final] = [row for row in history if "metrics/clip_alignment" in row]
        record = read_record(run_dir)
        known = {f"metrics/{name}": m.value for name, m in record.metrics.items() if m.value is not None}
        assert {name: value for name, value in final.items() if name in known} == known
        [name] = next(row["grid/filenames"] for row in history if "grid/filenames" in row)
        assert (file.parent / "files" / name).read_bytes() == (run_dir / "grid.png").read_bytes()
        assert [r.exit.exit_code for r in records if r.HasField("exit")] == [0]
        names = {"concepts/female.safetensors", "concepts/female.md"} if method == "sdid" else set()
        assert artifact(records) >= {"grid.png", "table.md", "record.json", *names}
    [group] = groups
    assert group.startswith("gender_fairness-")

    [file] = (tmp_path / "outputs" / "gender_fairness").glob("wandb/offline-run-*/*.wandb")
    records = list(wandb_records(file))
    [run] = [r.run for r in records if r.HasField("run")]
    assert (run.project, run.run_group, run.job_type) == ("hspace_exp", group, "summary")
    [row] = [pairs(r.history.item) for r in records if r.HasField("history")]
    table = json.loads((file.parent / "files" / row["summary/path"]).read_text())
    assert table["columns"][:3] == ["run", "method", "seed"]
    assert [line[:3] for line in table["data"]] == [
        [f"gender_fairness/{method}/0", method, 0] for method in ("original", "sdid")
    ]
    value = dict(zip(table["columns"], table["data"][1], strict=True))["clip_alignment"]
    sdid = tmp_path / "outputs" / "gender_fairness" / "sdid" / "0"
    assert value == read_record(sdid).metrics["clip_alignment"].value
    of_sdid = {f"gender_fairness/sdid/0/{name}" for name in ("concepts/male.safetensors", "table.md", "grid.png")}
    assert artifact(records) >= {"summary.md", "gender_fairness/original/0/grid.png", *of_sdid}
    assert row["grids/captions"] == ["gender_fairness/original/0", "gender_fairness/sdid/0"]
    assert (file.parent / "files" / row["grids/filenames"][1]).read_bytes() == (sdid / "grid.png").read_bytes()


@pytest.mark.usefixtures("offline")
def test_a_failed_wandb_run_is_marked(
    cli: Cli, sweep: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr(hspace_exp.pipeline.run, "make_images", fail)
    assert cli(*sweep, "method=original", "logger=wandb").code == 1
    wandb.teardown()  # the end of a run does not wait until its file is written
    [file] = tmp_path.rglob("*.wandb")
    assert [r.exit.exit_code for r in wandb_records(file) if r.HasField("exit")] == [1]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_other_launchers_report_alike(sweep_twice: Callable[..., None], launcher: str) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    sweep_twice(f"hydra/launcher={launcher}", *(["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []))


@pytest.mark.slow
def test_ctrl_c_ends_the_jobs_of_joblib(
    process: Callable[..., subprocess.Popen[str]], sweep: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    more = ["seed=0,1", "method=sdid", "protocol.training_steps=1000000"]
    running = process(*sweep, *more, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert running.stderr is not None
    for line in running.stderr:
        if "training …" in line:
            break
    running.send_signal(signal.SIGINT)
    _, rest = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in rest
    assert rest.strip().splitlines()[-1].startswith("interrupted")
    assert not list(tmp_path.rglob("record.json"))


def wandb_records(path: Path) -> Iterator[Any]:
    """Records of a ``.wandb`` file: after 7 bytes of its own, LevelDB's log format with one message a record."""
    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        room = BLOCK - at % BLOCK
        if room < 7:
            at += room
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in JOINED_END:
            yield wandb_internal_pb2.Record.FromString(whole)
            whole = b""


def pairs(items: Any) -> dict[str, Any]:
    """Names and values of a W&B message."""
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
