"""Turns between processes."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from hspace_exp.io.locks import FOLDER, alone, lock

ROOT = Path(__file__).parents[3]
# Goes in, says so, waits for its input to end, and only then leaves a file.
INSIDE = (
    "import sys; from pathlib import Path; from hspace_exp.io.locks import alone\n"
    "folder = Path(sys.argv[1])\n"
    "with alone(folder):\n"
    "    print('in', flush=True); sys.stdin.read(); folder.mkdir(); (folder / 'made').touch()\n"
)


def test_the_second_waits_and_finds_what_the_first_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "images"
    command = [sys.executable, "-c", INSIDE, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        assert lock(tmp_path / FOLDER / "images") is None
        other.stdin.close()
        with alone(folder):
            assert (folder / "made").exists()
    with caplog.at_level(logging.INFO), alone(folder), alone(tmp_path / "others"):
        pass
    assert "waiting" not in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == [FOLDER, "images"]


def test_an_error_inside_opens_the_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), alone(tmp_path / "images"):
        raise KeyboardInterrupt
    with alone(tmp_path / "images"):
        assert lock(tmp_path / FOLDER / "images") is None


def test_where_there_can_be_no_lock_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FOLDER).touch()
    with alone(tmp_path / "images"):
        pass
    assert "cannot be locked" in caplog.text
