"""Sweeps on a Ray cluster that starts and ends with the command."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RAY = ["hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2"]
DEVICES = ["+hydra.launcher.ray.init.num_gpus=2", "+hydra.launcher.ray.remote.num_gpus=1"]


@pytest.fixture(autouse=True)
def ray() -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="the extra ray is not installed")


def test_ray_reports_alike(sweep_twice: Callable[..., None]) -> None:
    sweep_twice(*RAY)


def test_ray_gives_each_job_a_device(
    process: Callable[..., subprocess.Popen[str]], sweep: list[str], tmp_path: Path
) -> None:
    place = "hydra.sweep.subdir=${seed}/device${oc.env:CUDA_VISIBLE_DEVICES,-none}"  # resolved where the job runs
    running = process(*sweep, "method=original", "seed=0,1", *RAY, *DEVICES, place)
    _, error = running.communicate(timeout=240)
    assert running.returncode == 0, error
    folders = [path.parent for path in tmp_path.rglob("record.json")]
    assert {folder.parent.name for folder in folders} == {"0", "1"}
    assert {folder.name for folder in folders} == {"device0", "device1"}


def test_ctrl_c_ends_the_jobs_of_ray(
    process: Callable[..., subprocess.Popen[str]], sweep: list[str], tmp_path: Path
) -> None:
    running = process(*sweep, "seed=0,1", "method=sdid", "protocol.training_steps=1000000", *RAY)
    assert running.stderr is not None
    for line in running.stderr:
        if "training …" in line:
            break
    running.send_signal(signal.SIGINT)
    _, rest = running.communicate(timeout=60)
    assert running.returncode == 130
    assert rest.strip().splitlines()[-1].startswith("interrupted")
    assert not list(tmp_path.rglob("record.json"))


def test_a_killed_job_is_named(process: Callable[..., subprocess.Popen[str]], sweep: list[str]) -> None:
    steps = ["method=sdid", "protocol.training_steps=1000000", "+hydra.launcher.ray.remote.max_retries=0"]
    running = process(*sweep, *steps, *RAY)
    assert running.stderr is not None
    for line in running.stderr:
        if "training …" in line:
            break
    number = line.split("pid=")[1].split(")")[0]
    subprocess.run(["kill", "-9", number], check=True)
    _, rest = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "1 of 1 jobs failed:\n  gender_fairness/sdid/0: stopped before its end" in rest
    assert "error: the sweep stopped:" in rest.splitlines()[-1]
    assert "Traceback" not in rest
