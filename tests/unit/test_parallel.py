"""Shares of the chunks, and the processes that make them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.parallel import SHARE, Share, check_devices, helpers


def test_shares_are_disjoint_and_cover_everything() -> None:
    for count in (1, 2, 3):
        owners = [[k for k in range(count) if Share(k, count).takes(chunk)] for chunk in range(20)]
        assert all(len(some) == 1 for some in owners)
        sizes = [sum(Share(k, count).takes(chunk) for chunk in range(20)) for k in range(count)]
        assert max(sizes) - min(sizes) <= 1


def test_the_share_of_a_helper_is_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SHARE, raising=False)
    assert Share.of_this_process() is None
    monkeypatch.setenv(SHARE, "2/5")
    assert Share.of_this_process() == Share(2, 5)


def test_devices_that_are_not_there_are_refused() -> None:
    with pytest.raises(UserError, match="at least 1"):
        check_devices(0, torch.device("cpu"))
    with pytest.raises(UserError, match="GPUs are visible"):
        check_devices(99, torch.device("cuda"))
    check_devices(4, torch.device("cpu"))


def test_a_helper_that_fails_is_said_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    done = []
    with helpers(["+experiment=no_such_one"], tmp_path, 2, torch.device("cpu")):
        done.append(True)
    assert done == [True]
    assert "helper 1 failed" in caplog.text
    assert "no_such_one" in (tmp_path / ".helpers" / "1.log").read_text()
