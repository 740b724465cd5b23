from __future__ import annotations

from pathlib import Path

import pytest

from hspace_exp.errors import UserError
from hspace_exp.results.loggers import csv_logger, has_key, log_results, no_logger, wandb_logger


def test_a_key_is_found_in_the_environment_or_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not has_key()
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password made-up\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert has_key()
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert not has_key()
    monkeypatch.delenv("WANDB_MODE")
    (tmp_path / ".netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "made-up")
    assert has_key()


def test_csv_keeps_results(tmp_path: Path) -> None:
    logger = csv_logger(tmp_path, "x", {})
    log_results(logger, {"fid": 1.5, "nothing": None}, tmp_path / "grid.png")
    assert "metrics/fid" in (tmp_path / "metrics.csv").read_text()


def test_none_logs_nothing(tmp_path: Path) -> None:
    assert no_logger(tmp_path, "x", {}) is None
    log_results(None, {"fid": 1.0}, tmp_path / "grid.png")
    assert list(tmp_path.iterdir()) == []


def test_unknown_modes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'offline'"):
        wandb_logger(tmp_path, "x", {}, project="p", mode="ofline")
