"""Processes that share a run: which one this is, what it waits for, and what it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.io.leader import LEADER
from hspace_exp.io.locks import lock
from hspace_exp.pipeline import workers
from hspace_exp.pipeline.workers import RANK_0, VARIABLES, Worker

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    for names in VARIABLES:
        for name in names:
            monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("names", VARIABLES)
def test_the_rank_is_what_torchrun_or_srun_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    for name, value in zip(names, ("5", "1", "8"), strict=True):
        monkeypatch.setenv(name, value)
    assert Worker.here(tmp_path, 1) == Worker(tmp_path, rank=5, local_rank=1, count=8)


def test_a_process_that_nobody_started_is_the_first_and_starts_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "4")  # a batch script itself, not a step of it
    assert Worker.here(tmp_path, 3) == Worker(tmp_path, count=3, starts=True)


def test_each_process_has_the_gpu_of_its_local_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    cuda = torch.device("cuda")
    assert Worker(tmp_path).device(torch.device("cuda", 1), 1) == torch.device("cuda", 1)
    assert Worker(tmp_path, 3, 1, 4).device(cuda, 1) == torch.device("cuda", 1)
    assert Worker(tmp_path, 3, 3, 4).device(cuda, 1) == torch.device("cuda", 1)  # srun shows each task its own
    assert Worker(tmp_path, 1, 1, 4).device(CPU, 1) == CPU
    with pytest.raises(UserError, match="but 2 GPUs are visible"):
        Worker(tmp_path, count=3).device(cuda, 3)
    with pytest.raises(UserError, match="leave device=cuda:1 out"):
        Worker(tmp_path, count=2).device(torch.device("cuda", 1), 2)


def test_another_rank_waits_for_rank_0_and_gives_up_when_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.3)
    first, second = Worker(tmp_path, count=2), Worker(tmp_path, 1, 1, 2)
    locked = second.locks(tmp_path / "chunks")
    assert locked is not None
    assert not second.wait_until_ready()
    assert locked("a", False) is None
    with first.leading([], CPU):
        assert second.alive()
        first.ready()
        assert second.wait_until_ready()
        release = locked("a", False)
        assert release is not None
        release()
    assert not second.wait_until_ready()  # what an earlier run left says nothing


def test_a_helper_ends_with_the_process_that_started_it_even_while_it_imports(tmp_path: Path) -> None:
    own = {**os.environ, LEADER: str(os.getpid() + 1)}  # which is none, so that another one is the parent
    command = [sys.executable, "-m", "hspace_exp", "+experiment=gender_fairness", "device=cpu"]
    ended = subprocess.run(command, env=own, cwd=tmp_path, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, b"", b"")
    assert not list(tmp_path.iterdir())


def test_a_single_process_leaves_nothing_of_this(tmp_path: Path) -> None:
    alone = Worker(tmp_path, starts=True)
    with alone.leading([], CPU):
        alone.ready()
    assert list(tmp_path.iterdir()) == []


def test_the_others_get_the_command_but_for_what_is_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []

    class Ended:
        returncode = 0

        def __init__(self, command: list[str], env: dict[str, str], **files: object) -> None:
            started.append((command, dict(env)))

        def poll(self) -> int:
            return self.returncode

        def kill(self) -> None:
            pass

        wait = kill

    monkeypatch.setattr(subprocess, "Popen", Ended)
    words = ["+experiment=e", "device=cuda", "++trainer.devices=3", "logger=wandb", "logger.group=mine", "seed=4"]
    with Worker(tmp_path, count=3, starts=True).leading(words, torch.device("cuda", 0)):
        assert len(started) == 2
    for rank, (command, environment) in enumerate(started, start=1):
        assert command[3:8] == ["+experiment=e", "seed=4", "device=cuda", "trainer.devices=1", "logger=none"]
        assert [environment[name] for name in VARIABLES[0]] == [str(rank), str(rank), "3"]


def test_one_that_cannot_start_is_said_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **kw: started.append(popen(*a, **kw)) or started[-1])
    with Worker(tmp_path, count=2, starts=True).leading(["+experiment=no_such_one"], CPU):
        assert started[0].wait(120) == 2
    assert "no_such_one" in (tmp_path / ".workers" / "1.log").read_text()
    assert "worker 1 failed" in caplog.text


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from hspace_exp.io.locks import lock\n"
    code += "held = lock(Path(sys.argv[1])); print('in', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(tmp_path / RANK_0)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        assert Worker(tmp_path, 1, 1, 2).alive()
        other.kill()
        other.wait()
    assert lock(tmp_path / RANK_0) is not None
