"""Sweeps on a real Slurm: munged, slurmctld and slurmd of this machine as a cluster of one node with two devices."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SLURM = "hydra/launcher=submitit_slurm"
DAEMONS = ("munged", "slurmctld", "slurmd")
ACCOUNTING = ("mariadb-install-db", "mariadbd", "slurmdbd", "sacctmgr", "sacct")
COMMANDS = ("sbatch", "srun", "sinfo", "squeue", "scancel")
DEVICES = ("/dev/null", "/dev/zero")
PORTS = ("slurmctld", "slurmd", "slurmdbd", "database")
USER = Path("/proc/self").owner() if Path("/proc/self").exists() else ""
STARTS_WITHIN = 60.0  # seconds


@dataclass(frozen=True)
class Cluster:
    """Slurm in a folder: its configuration, logs and state."""

    folder: Path
    found: dict[str, str]
    ports: dict[str, int]

    @property
    def accounting(self) -> bool:
        """Whether ``sacct`` answers, so that killed jobs are noticed."""
        return all(name in self.found for name in ACCOUNTING)

    @property
    def environment(self) -> dict[str, str]:
        """That of its commands."""
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def ask(self, *command: str) -> str:
        """What a command prints; nothing where no daemon answers yet."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60).stdout

    @contextmanager
    def daemon(self, name: str, *options: str) -> Iterator[None]:
        """A daemon that ends with the block."""
        command = [self.found[name], *options]
        with (
            (self.folder / f"{name}.out").open("wb") as log,
            subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=self.environment) as running,
        ):
            try:
                yield
            finally:
                running.terminate()

    def until(self, what: str, there: Callable[[], bool]) -> None:
        """Wait for something; fails with what the daemons wrote."""
        end = time.monotonic() + STARTS_WITHIN
        while not there():
            if time.monotonic() > end:
                logs = (log.read_text(errors="replace")[-4000:] for log in self.folder.glob("*.out"))
                pytest.fail("\n".join([f"{what} did not start", *logs]))
            time.sleep(0.2)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that runs while it is wanted; nothing outside its folder is touched."""
    where = f"{os.environ['PATH']}:/usr/sbin"
    paths = {name: shutil.which(name, path=where) for name in (*DAEMONS, *COMMANDS, *ACCOUNTING)}
    found = {name: path for name, path in paths.items() if path is not None}
    missing = [name for name in (*DAEMONS, *COMMANDS) if name not in found]
    if missing:
        pytest.skip(f"no Slurm here: {', '.join(missing)} not found (Debian's packages are slurm-wlm and munge)")
    here = Cluster(tmp_path_factory.mktemp("slurm"), found, dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    configure(here)
    folder = here.folder
    with ExitStack() as daemons:

        def start(name: str, *options: str) -> None:
            daemons.enter_context(here.daemon(name, *options))

        own = {"key-file": "key", "socket": "munge", "pid-file": "munged.pid", "seed-file": "seed"}
        start("munged", "--foreground", "--force", *(f"--{option}={folder / name}" for option, name in own.items()))
        here.until("munged", (folder / "munge").exists)
        if here.accounting:
            database = ["--no-defaults", f"--datadir={folder / 'database'}", f"--user={USER}"]
            subprocess.run([found["mariadb-install-db"], *database], check=True, capture_output=True)
            place = [f"--port={here.ports['database']}", f"--socket={folder / 'mariadb'}", "--bind-address=127.0.0.1"]
            start("mariadbd", *database, *place, "--skip-grant-tables")
            here.until("mariadbd", (folder / "mariadb").exists)
            start("slurmdbd", "-D")
            here.until("slurmdbd", lambda: "test" in here.ask("sacctmgr", "-i", "add", "cluster", "test"))
        start("slurmctld", "-D")
        start("slurmd", "-D")
        here.until("a node", lambda: "idle" in here.ask("sinfo", "-h", "-o", "%T"))
        yield here


def configure(cluster: Cluster) -> None:
    """Write its files: two cores, and two devices that Slurm counts but never opens."""
    folder, ports, host = cluster.folder, cluster.ports, platform.node().split(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "key").write_bytes(os.urandom(128))
    (folder / "key").chmod(0o400)
    (folder / "gres.conf").write_text("".join(f"Name=gpu File={device}\n" for device in DEVICES))
    shared = {"AuthType": "auth/munge", "AuthInfo": f"socket={folder / 'munge'}", "SlurmUser": USER}
    values: dict[str, object] = {
        "ClusterName": "test",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": ports["slurmctld"],
        "SlurmdPort": ports["slurmd"],
        "SlurmdUser": USER,
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
    if cluster.accounting:
        storage: dict[str, object] = {
            "Type": "accounting_storage/slurmdbd",
            "Host": "127.0.0.1",
            "Port": ports["slurmdbd"],
        }
        storage["Pass"] = folder / "munge"  # the socket, in Munge's case
        values |= {f"AccountingStorage{name}": value for name, value in storage.items()}
        mysql = {"Type": "accounting_storage/mysql", "Host": "127.0.0.1", "Port": ports["database"], "Loc": "slurm"}
        accounts: dict[str, object] = {"DbdHost": host, "DbdAddr": "127.0.0.1", "DbdPort": ports["slurmdbd"]}
        accounts |= {"PidFile": folder / "slurmdbd.pid", "StorageUser": USER, "StoragePass": "none"}
        accounts |= {f"Storage{name}": value for name, value in mysql.items()}
        write(folder / "slurmdbd.conf", shared | accounts)
    write(folder / "slurm.conf", shared | values)


def write(path: Path, values: Mapping[str, object]) -> None:
    """Write a configuration file; slurmdbd's may be its user's only."""
    path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    path.chmod(0o600)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as sockets:
        listeners = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]


@pytest.fixture
def slurm(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The cluster, which the commands of this process use."""
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    return cluster


def test_slurm_reports_alike_and_gives_each_job_a_device(
    slurm: Cluster, sweep_twice: Callable[..., None], tmp_path: Path
) -> None:
    seen = tmp_path / "devices"
    note = f"hydra.launcher.setup=['echo $CUDA_VISIBLE_DEVICES >> {seen}']"
    sweep_twice(SLURM, "hydra.launcher.gpus_per_node=1", "hydra.launcher.partition=test", note)
    assert set(seen.read_text().splitlines()) == {"0", "1"}


def test_after_a_killed_job_the_others_are_waited_for(
    slurm: Cluster, process: Callable[..., subprocess.Popen[str]], sweep: list[str], tmp_path: Path
) -> None:
    if not slurm.accounting:
        pytest.skip("no accounting here: Slurm forgets how jobs ended (Debian's packages are slurmdbd, mariadb-server)")
    outputs = tmp_path / "outputs" / "gender_fairness"
    one_by_one = ["hydra.launcher.array_parallelism=1", "protocol.training_steps=1000"]
    running = process(*sweep, "method=sdid", "seed=0,1,2", *one_by_one, SLURM)
    slurm.until("training", lambda: trains(outputs / "sdid" / "0"))
    slurm.ask("scancel", "--signal=KILL", slurm.ask("squeue", "-h", "-t", "R", "-o", "%i").strip())
    _, error = running.communicate(timeout=240)
    assert running.returncode == 1, error
    assert "waiting for the others of Slurm's job" in error
    assert "1 of 3 jobs failed:\n  gender_fairness/sdid/0: stopped before its end" in error
    assert {path.parent.name for path in outputs.rglob("record.json")} == {"1", "2"}
    assert "sdid/0 failed" in (outputs / "summary.md").read_text()


def test_a_preempted_job_goes_on_where_it_was(
    slurm: Cluster, process: Callable[..., subprocess.Popen[str]], sweep: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "outputs" / "gender_fairness" / "sdid" / "0"
    running = process(*sweep, "method=sdid", "protocol.training_steps=2000", SLURM)
    slurm.until("training", lambda: trains(run))
    time.sleep(5)
    slurm.ask("scancel", "--signal=USR2", slurm.ask("squeue", "-h", "-t", "R", "-o", "%i").strip())
    _, error = running.communicate(timeout=280)
    assert running.returncode == 0, error
    assert "training goes on from step" in (run / "run.log").read_text()
    assert (run / "record.json").exists()


def trains(run: Path) -> bool:
    """Whether a job has come to its training."""
    log = run / "run.log"
    return log.exists() and "training …" in log.read_text()
