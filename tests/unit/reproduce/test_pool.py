"""Tasks in worker processes."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hspace_exp.reproduce.pool import Done, Task, work


def task(name: str, log: Path, call: Any, *arguments: Any, makes: str = "", needs: Sequence[str] = ()) -> Task:
    """A task that calls something of the standard library, which a fresh process can import."""
    return Task(name, call, arguments, log / f"{name}.log", makes, frozenset(needs))


@pytest.mark.parametrize("jobs", [1, 2])
def test_all_are_done_and_a_failed_one_stops_no_other(tmp_path: Path, jobs: int) -> None:
    tasks = [
        task("first", tmp_path, print, "hello"),
        task("wrong", tmp_path, math.sqrt, -1),
        task("dies", tmp_path, os._exit, 7),
        task("last", tmp_path, print, "bye"),
    ]
    done = {one.task.name: one.error for one in work(tasks, jobs)}
    assert list(done) == [t.name for t in tasks] or jobs > 1
    assert done["first"] == done["last"] == ""
    assert done["wrong"].startswith("ValueError: ")
    assert "exit code 7" in done["dies"]
    assert "hello" in (tmp_path / "first.log").read_text()
    assert "hello" not in (tmp_path / "last.log").read_text()
    assert "wrong failed" in (tmp_path / "wrong.log").read_text()


def test_processes_are_spread_over_devices_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    say = "import os, time; time.sleep(1); print('on', os.environ['CUDA_VISIBLE_DEVICES'], flush=True)"
    tasks = [task(str(k), tmp_path, exec, say) for k in range(4)]
    assert not any(one.error for one in work(tasks, 4, devices=["4", "7"]))
    assert sorted((tmp_path / f"{k}.log").read_text().strip() for k in range(4)) == ["on 4", "on 4", "on 7", "on 7"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,7"


def test_what_is_needed_comes_first_and_others_pass(tmp_path: Path) -> None:
    tasks = [
        task("shared", tmp_path, time.sleep, 0.4, makes="images"),
        task("user", tmp_path, time.sleep, 0, needs=["images"]),
        task("other", tmp_path, time.sleep, 0),
        task("third", tmp_path, time.sleep, 0, needs=["never made"]),
    ]
    names = [one.task.name for one in work(tasks, 2)]
    assert set(names) == {"shared", "user", "other", "third"}
    assert names.index("shared") < names.index("user")
    assert names.index("other") < names.index("user")


def test_what_a_failed_task_should_make_keeps_nobody_waiting(tmp_path: Path) -> None:
    tasks = [
        task("shared", tmp_path, math.sqrt, -1, makes="images"),
        task("user", tmp_path, time.sleep, 0, needs=["images"]),
    ]
    assert [bool(one.error) for one in work(tasks)] == [True, False]


def test_time_is_up(tmp_path: Path) -> None:
    tasks = [task("long", tmp_path, time.sleep, 60), task("never", tmp_path, time.sleep, 0)]
    started = time.monotonic()
    assert list[Done](work(tasks, max_seconds=1)) == []
    assert time.monotonic() - started < 15


def test_workers_are_fresh_processes(tmp_path: Path) -> None:
    one = task("who", tmp_path, print, sys.executable)
    assert [done.error for done in work([one])] == [""]
