"""Waiting for what Slurm still has, with a stand-in for its ``squeue``."""

from __future__ import annotations

from pathlib import Path

import pytest

from hspace_exp.sweeps.ledger import Note
from hspace_exp.sweeps.slurm import wait_for_arrays

SQUEUE = '#!/bin/sh\necho "$3" >> {asked}\n[ "$(grep -c "^$3$" {asked})" -lt 3 ] && echo "$3 test RUNNING"\nexit 1\n'


def test_arrays_are_asked_for_until_they_are_gone_but_not_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    (tmp_path / "squeue").write_text(SQUEUE.format(asked=asked))
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "9")
    wait_for_arrays([Note(i, "", "", "", array=array) for i, array in enumerate(["7", "9", "", "7"])], pause=0.01)
    assert asked.read_text().split() == ["7", "7", "7"]
