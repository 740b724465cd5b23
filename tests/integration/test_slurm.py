"""Sweeps on a real Slurm: munged, slurmctld and slurmd of this machine as a cluster of one node with two devices."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SLURM = "hydra/launcher=submitit_slurm"
DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "srun", "sinfo", "scontrol", "scancel")
DEVICES = ("/dev/null", "/dev/zero")
STARTS_WITHIN = 60.0  # seconds


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """``slurm.conf`` of a cluster that runs while it is wanted; nothing outside its folder is touched."""
    where = f"{os.environ['PATH']}:/usr/sbin"
    found = {name: shutil.which(name, path=where) for name in (*DAEMONS, *COMMANDS)}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        pytest.skip(f"no Slurm here: {', '.join(missing)} not found (Debian's packages are slurm-wlm and munge)")
    folder = tmp_path_factory.mktemp("slurm")
    config = write_configuration(folder)
    own = {"key-file": "key", "socket": "socket", "pid-file": "munged.pid", "seed-file": "seed"}
    munged = ["--foreground", "--force", *(f"--{option}={folder / name}" for option, name in own.items())]
    with ExitStack() as daemons:
        for name, options in zip(DAEMONS, (munged, ["-D"], ["-D"]), strict=True):
            daemons.enter_context(daemon([str(found[name]), *options], folder / f"{name}.out", config))
            until(name, (folder / "socket").exists if name == "munged" else lambda: True, folder)
        until("a node", lambda: "idle" in ask("sinfo", "-h", "-o", "%T", config=config), folder)
        yield config


def write_configuration(folder: Path) -> Path:
    """``slurm.conf`` and ``gres.conf``: two cores, and two devices that Slurm counts but never opens."""
    host, user = platform.node().split(".")[0], Path("/proc/self").owner()
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "key").write_bytes(os.urandom(128))
    (folder / "key").chmod(0o400)
    values = {
        "ClusterName": "test",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": free_port(),
        "SlurmdPort": free_port(),
        "AuthInfo": f"socket={folder / 'socket'}",
        "SlurmUser": user,
        "SlurmdUser": user,
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "spool",
        "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": folder / "slurmd.pid",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core",
        "SlurmdParameters": "config_overrides",
        "ReturnToService": 2,
        "KillWait": 5,
        "GresTypes": "gpu",
        "NodeName": f"{host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 Gres=gpu:2",
        "PartitionName": "test Nodes=ALL Default=YES State=UP",
    }
    config = folder / "slurm.conf"
    config.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    (folder / "gres.conf").write_text("".join(f"Name=gpu File={device}\n" for device in DEVICES))
    return config


def daemon(command: list[str], log: Path, config: Path) -> subprocess.Popen[bytes]:
    """Start a daemon in the foreground; it ends with its context."""

    class Daemon(subprocess.Popen[bytes]):
        def __exit__(self, *error: object) -> None:
            self.terminate()
            super().__exit__(*error)  # type: ignore[arg-type]

    with log.open("wb") as file:
        return Daemon(command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, "SLURM_CONF": str(config)})


def ask(*command: str, config: Path) -> str:
    """What a Slurm command prints; nothing where the controller does not answer yet."""
    environment = {**os.environ, "SLURM_CONF": str(config)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=STARTS_WITHIN).stdout


def until(what: str, there: Callable[[], bool], folder: Path) -> None:
    """Wait for something; fails with what the daemons wrote."""
    end = time.monotonic() + STARTS_WITHIN
    while not there():
        if time.monotonic() > end:
            pytest.fail("\n".join([f"{what} did not start", *(log.read_text() for log in folder.glob("*.out"))]))
        time.sleep(0.2)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def slurm(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cluster, which the commands of this process use."""
    monkeypatch.setenv("SLURM_CONF", str(cluster))
    return cluster


def test_slurm_reports_alike_and_gives_each_job_a_device(
    slurm: Path, sweep_twice: Callable[..., None], tmp_path: Path
) -> None:
    seen = tmp_path / "devices"
    note = f"hydra.launcher.setup=['echo $CUDA_VISIBLE_DEVICES >> {seen}']"
    sweep_twice(SLURM, "hydra.launcher.gpus_per_node=1", "hydra.launcher.partition=test", note)
    assert set(seen.read_text().splitlines()) == {"0", "1"}
