"""One device a job, across processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from hspace_exp.sweeps import device
from hspace_exp.sweeps.jobs import run_job
from hspace_exp.sweeps.ledger import sweep_of

ROOT = Path(__file__).parents[3]
# Claims one of two devices, says which, and keeps it until its input ends.
CLAIM = (
    "import sys; from pathlib import Path; from hspace_exp.sweeps.device import claim; "
    "print(claim(Path(sys.argv[1]), 2, 5), flush=True); sys.stdin.read()"
)


@pytest.fixture(autouse=True)
def _nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_held", {})


def other(folder: Path) -> subprocess.Popen[str]:
    """Another process that claims a device."""
    return subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_processes_get_a_device_each_and_keep_it(tmp_path: Path) -> None:
    first = other(tmp_path)
    assert first.stdout is not None
    assert first.stdout.readline() == "0\n"
    assert device.claim(tmp_path, 2, 0) == 1
    assert device.claim(tmp_path, 2, 8) == 1  # the next job of this process
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
