"""Notes of jobs, and the code of a sweep."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hspace_exp.sweeps.ledger import DONE, FAILED, Note, SweepCallback, sweep_of


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
