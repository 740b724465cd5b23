from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hspace_exp.config.checks import check_targets
from hspace_exp.errors import UserError
from hspace_exp.io.atomic import save_png
from hspace_exp.results.loggers import close, csv_logger, has_key, log_results, no_logger, wandb_logger

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
    loggers = wandb_logger(tmp_path, "x/y/seed=0", {"method": {"name": "sdid"}}, project="p")
    for logger in loggers:
        logger.log_metrics({"loss/female": 0.5}, 9)
    picture(tmp_path / "grid.png")
    for name in ("concepts/female.safetensors", "concepts/female.md", "table.md", "calibration.pdf", "images/0.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    logged: list[Any] = []
    monkeypatch.setattr(type(loggers[0].experiment), "log_artifact", lambda run, kept: logged.append(kept))
    log_results(loggers, {"fid": 1.5}, tmp_path)
    close(loggers)
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
