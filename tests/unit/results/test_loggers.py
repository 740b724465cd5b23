from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb

from hspace_exp.config.checks import check_targets
from hspace_exp.errors import UserError
from hspace_exp.io.atomic import save_png
from hspace_exp.results import loggers
from hspace_exp.results.loggers import (
    close,
    csv_logger,
    has_key,
    log_results,
    no_logger,
    wandb_logger,
    wandb_run,
)

KEY = "0123456789" * 4  # of the form of a key, and nobody's


def test_a_key_is_found_in_the_environment_or_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not has_key()
    monkeypatch.setenv("WANDB_API_KEY", "too-short")
    assert not has_key()
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / ".netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert has_key()
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert not has_key()
    monkeypatch.delenv("WANDB_MODE")
    (tmp_path / ".netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert has_key()


def test_a_server_of_ones_own_has_keys_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mine.netrc").write_text(f"machine my.host login user password {KEY}\n")
    (tmp_path / "mine.netrc").chmod(0o600)
    code = "from hspace_exp.results.loggers import has_key, server; print(has_key(), server())"
    for host, found in (("https://my.host", True), ("https://other.host", False)):
        own = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "mine.netrc"), "WANDB_BASE_URL": host}
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")} | own
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [str(found), host]


def test_a_key_without_a_network_goes_on_offline_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(loggers, "has_key", lambda: True)
    monkeypatch.setattr(loggers, "answers", lambda url: False)
    modes: list[str] = []
    monkeypatch.setattr("wandb.init", lambda **given: modes.append(given["mode"]))
    wandb_run(tmp_path, "x", "auto")
    assert modes == ["offline"]
    assert [record.getMessage().count("stays offline") for record in caplog.records] == [1]
    monkeypatch.setattr(loggers, "answers", lambda url: True)
    wandb_run(tmp_path, "x", "auto")
    assert modes == ["offline", "online"]


def test_disabled_writes_nothing_but_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    found = wandb_logger(tmp_path, "x", {}, project="p", mode="offline")
    assert [type(one).__name__ for one in found] == ["CSVLogger"]
    assert not (tmp_path / "wandb").exists()


def test_what_weights_and_biases_says_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(**given: Any) -> None:
        raise wandb.errors.CommError("no\nserver")

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr("wandb.init", refuse)
    with pytest.raises(UserError, match=r"Weights & Biases cannot be had \(no server\): say logger.mode=offline"):
        wandb_run(tmp_path, "x", "online")


def test_csv_keeps_results(tmp_path: Path) -> None:
    log_results(csv_logger(tmp_path, "x", {}), {"fid": 1.5, "nothing": None}, tmp_path)
    assert "metrics/fid" in (tmp_path / "metrics.csv").read_text()


def test_none_logs_nothing(tmp_path: Path) -> None:
    log_results(no_logger(tmp_path, "x", {}), {"fid": 1.0}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unknown_modes_are_refused() -> None:
    with pytest.raises(UserError, match=r"logger\.mode=ofline: expected 'auto', 'online' or 'offline'"):
        check_targets({"logger": {"_target_": "hspace_exp.results.loggers.wandb_logger", "mode": "ofline"}})


def test_wandb_runs_keep_their_curves_in_a_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "run.log").write_text("what was there before\n")
    made = wandb_logger(tmp_path, "x/y/seed=0", {"method": {"name": "sdid"}}, project="p")
    for logger in made:
        logger.log_metrics({"loss/female": 0.5}, 9)
    picture(tmp_path / "grid.png")
    for name in ("concepts/female.safetensors", "concepts/female.md", "table.md", "calibration.pdf", "images/0.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    logged: list[Any] = []
    monkeypatch.setattr(type(made[0].experiment), "log_artifact", lambda run, kept: logged.append(kept))
    log_results(made, {"fid": 1.5}, tmp_path)
    close(made)
    [kept] = logged
    assert (kept.type, kept.name) == ("results", "x-y-seed-0")
    wanted = {"grid.png", "concepts/female.safetensors", "concepts/female.md", "table.md", "calibration.pdf"}
    assert {*kept.manifest.entries} == wanted
    assert {Path(entry.local_path) for entry in kept.manifest.entries.values()} == {tmp_path / name for name in wanted}
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [(row["loss/female"], row["metrics/fid"]) for row in rows] == [("0.5", ""), ("", "1.5")]


def picture(path: Path) -> Path:
    """A small image file."""
    save_png(path, np.zeros((8, 8, 3), np.uint8))
    return path
