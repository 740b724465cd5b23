"""Jobs of a sweep: one device each, across processes; launchers that stop; what Slurm still has."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from omegaconf import OmegaConf

from hspace_exp.errors import UserError
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.job import optimized
from hspace_exp.results.record import RunRecord
from hspace_exp.sweeps import jobs
from hspace_exp.sweeps.jobs import (
    DONE,
    FAILED,
    Note,
    SweepCallback,
    let_go_of_ray,
    run_job,
    stopped,
    sweep_of,
    take_back,
    wait_for_arrays,
)

ROOT = Path(__file__).parents[3]
# Takes one of two devices, says which, and keeps it until its input ends.
TAKE = (
    "import sys; from pathlib import Path; from hspace_exp.sweeps.jobs import take_device; "
    "print(take_device(Path(sys.argv[1]), 2, 5), flush=True); sys.stdin.read()"
)


@pytest.fixture(autouse=True)
def _nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_held", {})


def other(folder: Path) -> subprocess.Popen[str]:
    """Another process that takes a device."""
    return subprocess.Popen(
        [sys.executable, "-c", TAKE, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_processes_get_a_device_each_and_keep_it(tmp_path: Path) -> None:
    first = other(tmp_path)
    assert first.stdout is not None
    assert first.stdout.readline() == "0\n"
    assert jobs.take_device(tmp_path, 2, 0) == 1
    assert jobs.take_device(tmp_path, 2, 8) == 1  # the next job of this process
    third = other(tmp_path)
    assert third.communicate("")[0] == "1\n"  # job 5 of 2 devices that are taken
    first.kill()
    first.communicate()
    fourth = other(tmp_path)
    assert fourth.communicate("")[0] == "0\n"  # a killed process holds nothing


@pytest.mark.parametrize(
    ("asked", "count", "spread", "expected"),
    [
        ("auto", 2, 1, "cuda:0"),
        ("auto", 2, 2, "auto"),
        ("auto", 1, 1, "auto"),
        ("cuda:1", 2, 1, "cuda:1"),
        ("cpu", 2, 1, "cpu"),
    ],
)
def test_only_an_open_choice_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, count: int, spread: int, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    cfg = OmegaConf.create({"name": "x", "device": asked, "logger": {"group": None}, "trainer": {"devices": spread}})
    sweep = sweep_of(tmp_path, [], None)
    done: list[str] = []
    run_job(sweep, cfg, 0, tmp_path / "x" / "a", lambda: done.append(cfg.device))
    assert done == [expected]
    assert cfg.logger.group == sweep.group("x")
    assert [(note.name, note.state) for note in sweep.notes()] == [("x/a", "done")]


def test_errors_of_launchers_are_told_from_others() -> None:
    of_ray = type("WorkerCrashedError", (Exception,), {"__module__": "ray.exceptions"})
    assert stopped(of_ray())
    assert stopped(RuntimeError())
    assert not stopped(TypeError())


def test_ray_is_let_go_of_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    ray, calls = ModuleType("ray"), []
    ray.shutdown = lambda: calls.append("shutdown")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", ray)
    let_go_of_ray()
    assert calls == ["shutdown"]
    monkeypatch.delitem(sys.modules, "ray")
    let_go_of_ray()


SQUEUE = '#!/bin/sh\necho "$3" >> {asked}\n[ "$(grep -c "^$3$" {asked})" -lt 3 ] && echo "$3 test RUNNING"\nexit 1\n'


def test_arrays_are_asked_for_until_they_are_gone_but_not_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    (tmp_path / "squeue").write_text(SQUEUE.format(asked=asked))
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "9")
    wait_for_arrays([Note(i, "", "", "", array=array) for i, array in enumerate(["7", "9", "", "7"])], pause=0.01)
    assert asked.read_text().split() == ["7", "7", "7"]


def test_notes_are_read_in_the_order_of_the_jobs_and_removed(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, ["seed=0,1"], None)
    notes = [Note(number, f"x/seed={number}", "x", str(tmp_path / str(number))) for number in (10, 2, 0)]
    for note in notes:
        sweep.write(note)
    sweep.write(replace(notes[0], state=DONE))
    sweep.write(replace(notes[1], state=FAILED, error="why"))
    assert [(n.number, n.state, n.error) for n in sweep.notes()] == [
        (0, "running", ""), (2, "failed", "why"), (10, "done", "")
    ]  # fmt: skip
    other = sweep_of(tmp_path, ["seed=5"], None)
    other.write(notes[0])
    sweep.clear()
    assert sweep.notes() == []
    assert len(other.notes()) == 1
    other.clear()
    assert list(tmp_path.iterdir()) == []


def test_the_code_is_of_what_is_run(tmp_path: Path) -> None:
    code = sweep_of(tmp_path, ["+experiment=x", "seed=0,1"], None).code
    assert sweep_of(tmp_path / "elsewhere", ["seed=0,1", "+experiment=x"], {}).code == code
    assert sweep_of(tmp_path, ["+experiment=x", "seed=0,2"], None).code != code
    assert sweep_of(tmp_path, ["+experiment=x", "seed=0,1"], {"method": "sdid,lwim"}).code != code
    assert sweep_of(tmp_path, [], None).group("gender").startswith("gender-")


def test_a_callback_knows_its_sweep_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SweepCallback, "current", None)
    config = OmegaConf.create(
        {"hydra": {"sweep": {"dir": str(tmp_path)}, "overrides": {"task": ["seed=0,1"]}, "sweeper": {"params": None}}}
    )
    config.hydra.job_logging = {}
    begun = SweepCallback()
    begun.on_multirun_start(config)
    sweep = SweepCallback.current
    assert sweep is not None
    assert sweep.results == tmp_path
    SweepCallback.current = None
    pickle.loads(pickle.dumps(begun)).on_job_start(config)
    assert SweepCallback.current == sweep
    SweepCallback().on_job_start(config)  # of a run that is not part of a sweep
    assert SweepCallback.current is None


def test_what_a_job_finds_is_returned_and_a_failed_one_finds_none(tmp_path: Path) -> None:
    sweep, cfg = sweep_of(tmp_path, [], None), OmegaConf.create({"name": "e", "logger": {}, "device": "cpu"})
    assert run_job(sweep, cfg, 0, tmp_path / "0", lambda: 0.25) == 0.25

    def fail() -> float:
        raise UserError("no")

    assert run_job(sweep, cfg, 1, tmp_path / "1", fail) is None
    assert [note.state for note in sweep.notes()] == [DONE, FAILED]


def test_sweepers_get_the_deviation_ratio_or_the_metrics_that_are_named() -> None:
    measured = {name: MetricValue(value, None, None, 8, True) for name, value in (("a", 0.5), ("b", None))}
    ratio = {"deviation_ratio": MetricValue(0.125, None, None, 8, False)}
    plain = RunRecord("e", "m", "avatars", "smile", 0, measured, [], {}, {}, None, "CPU", {})
    fair = replace(plain, metrics=measured | ratio)
    assert [optimized(one, "deviation_ratio") for one in (None, plain, fair)] == [None, None, 0.125]
    assert optimized(fair, "a") == 0.5
    assert optimized(None, ["a", "b"]) == [None, None]
    assert optimized(fair, ["deviation_ratio", "a", "b"]) == [0.125, 0.5, None]
    with pytest.raises(UserError, match="unknown optimized_metric 'success'"):
        optimized(fair, "success")


def test_what_a_refused_command_was_given_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, notice = tmp_path / "outputs" / "run", tmp_path / "sweep" / "multirun.yaml"
    kept = tmp_path / "outputs" / "other"
    for path in (run / ".hydra" / "config.yaml", run / "run.log", notice):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    missing = [run, run.parent, notice, notice.parent]
    monkeypatch.setattr(SweepCallback, "missing", missing)
    kept.mkdir()
    take_back()
    assert [path for path in missing if path.exists()] == [kept.parent]
    (run / "images").mkdir(parents=True)
    take_back()
    assert run.exists()  # there is work in it
