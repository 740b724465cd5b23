"""Helper processes: what they are told, what they take, and what happens when they end."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.io.claims import Claims
from hspace_exp.pipeline import parallel
from hspace_exp.pipeline.parallel import Helpers, check_devices, helpers
from hspace_exp.pipeline.seat import SEAT, Seat, mark_of

# Marks each order as done; "fall" ends it, "sleep" keeps it silent.
OBEDIENT = """
import pathlib, sys, time
for line in sys.stdin:
    number, what = line.split()
    if what == "fall": sys.exit(1)
    if what == "sleep": time.sleep(60)
    pathlib.Path(sys.argv[1], f"1.{number}.done").touch()
"""


@pytest.fixture
def one(tmp_path: Path) -> Helpers:
    mark_of(tmp_path, 1, 0, "ready").touch()
    process = subprocess.Popen([sys.executable, "-c", OBEDIENT, str(tmp_path)], stdin=subprocess.PIPE, bufsize=0)
    return Helpers(tmp_path, {1: process})


def test_every_piece_is_taken_once(tmp_path: Path) -> None:
    first, second = Claims(tmp_path / "work"), Claims(tmp_path / "work")
    taken = [[claims.takes(number) for claims in (first, second)] for number in range(5)]
    assert taken == [[True, False]] * 5
    first.clear()
    assert second.takes(3)


def test_the_seat_of_a_helper_is_in_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SEAT, raising=False)
    assert Seat.of_this_process(tmp_path) is None
    monkeypatch.setenv(SEAT, "2")
    seat = Seat.of_this_process(tmp_path)
    assert seat is not None
    seat.mark(7, "ready")
    assert mark_of(seat.folder, 2, 7, "ready").exists()


def test_devices_that_are_not_there_are_refused() -> None:
    with pytest.raises(UserError, match="at least 1"):
        check_devices(0, torch.device("cpu"))
    with pytest.raises(UserError, match="GPUs are visible"):
        check_devices(99, torch.device("cuda"))
    check_devices(4, torch.device("cpu"))


def test_orders_are_done_in_turn_and_waited_for(one: Helpers, tmp_path: Path) -> None:
    with one.working("first") as claims:
        assert claims.takes(0)
    assert mark_of(tmp_path, 1, 1, "done").exists()
    assert one.wait(one.order("second"))
    (process,) = one.processes.values()
    one.end()
    assert process.poll() is not None
    assert len(one) == 0


def test_who_is_still_loading_when_all_is_done_is_not_waited_for(one: Helpers, tmp_path: Path) -> None:
    mark_of(tmp_path, 1, 0, "ready").unlink()
    with one.working("sleep") as claims:
        assert claims.takes(0)
    assert len(one) == 1
    one.end()


@pytest.mark.parametrize("what", ["fall", "sleep"])
def test_who_falls_or_is_silent_is_given_up(
    one: Helpers, what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(parallel, "PATIENCE", 1.0)
    (process,) = one.processes.values()
    assert not one.wait(one.order(what))
    assert process.poll() is not None
    assert len(one) == 0
    assert one.wait(one.order("nobody is left"))
    assert "helper 1 failed" in caplog.text


def test_a_helper_that_cannot_start_is_said_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with helpers(["+experiment=no_such_one"], tmp_path, 2, torch.device("cpu")) as others, others.working("generation"):
        others.processes[1].wait()
    assert "helper 1 failed" in caplog.text
    assert "no_such_one" in (tmp_path / ".helpers" / "1.log").read_text()


def test_a_helper_gets_the_command_but_for_what_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    class Ended:
        stdin = None

        def __init__(self, command: list[str], **options: object) -> None:
            started.append(command)

        def poll(self) -> int:
            return 0

    monkeypatch.setattr(subprocess, "Popen", Ended)
    words = ["+experiment=e", "device=cuda", "++trainer.devices=3", "logger=wandb", "logger.group=mine", "seed=4"]
    with helpers(words, tmp_path, 3, torch.device("cuda")) as others:
        assert len(others) == 2
    for k, command in enumerate(started, start=1):
        assert command[3:5] == ["+experiment=e", "seed=4"]
        assert command[5:8] == [f"device=cuda:{k}", "trainer.devices=1", "logger=none"]


def test_one_device_needs_no_helper(tmp_path: Path) -> None:
    with helpers([], tmp_path, 1, torch.device("cpu")) as others:
        assert not others
    assert not (tmp_path / ".helpers").exists()


def test_unknown_orders_are_refused(tmp_path: Path) -> None:
    from hspace_exp.pipeline.assist import Assistant

    assistant = Assistant(None, Seat(1, tmp_path), print)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="unknown order 'trining'"):
        assistant.work(io.StringIO("1 trining x\n"))


def test_a_helper_ends_with_who_tells_it() -> None:
    busy = "import time; from hspace_exp.pipeline.seat import orders; print(next(orders()), flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("1 work\n")
        process.stdin.flush()
        assert process.stdout.readline() == "1 work\n"
        process.stdin.close()
        assert process.wait(30) == 0
