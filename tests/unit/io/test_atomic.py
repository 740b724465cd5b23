"""Files are whole or absent."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from hspace_exp.io import atomic
from hspace_exp.io.atomic import remove_parts


def test_failed_move_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "file.txt"
    atomic.write_text(path, "old")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_folder_that_takes_no_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        atomic.write_text(tmp_path / "deep" / "file.txt", "text")
    assert caught.value.filename == str(tmp_path / "deep")
    assert list((tmp_path / "deep").iterdir()) == []


def test_json_has_no_nan_and_a_bad_value_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic.write_json(path, {"b": 1, "a": "ü"})
    assert path.read_text(encoding="utf-8") == '{\n  "a": "ü",\n  "b": 1\n}\n'
    with pytest.raises(ValueError, match="JSON compliant"):
        atomic.write_json(path, {"b": float("inf")})
    assert "ü" in path.read_text(encoding="utf-8")


def test_files_written_at_once_leave_the_umask_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    os.umask(before)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda i: atomic.write_text(tmp_path / str(i), ""), range(400)))
    after = os.umask(before)
    assert after == before
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1


def test_new_files_follow_the_umask(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    atomic.write_text(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == plain.stat().st_mode


def test_safetensors_and_png_round_trip(tmp_path: Path) -> None:
    tensor = torch.arange(6.0).view(2, 3).T
    atomic.save_safetensors(tmp_path / "t.safetensors", {"vector": tensor}, {"name": "female"})
    with safe_open(tmp_path / "t.safetensors", "pt") as file:
        assert file.metadata() == {"name": "female"}
        assert torch.equal(file.get_tensor("vector"), tensor)
    image = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    atomic.save_png(tmp_path / "i.png", image)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "i.png")), image)


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from hspace_exp.io.atomic import write_bytes\n"
        "Path.replace = lambda *given: os._exit(9)\n"  # as if it were killed there
        "write_bytes(sys.argv[1], b'half')"
    )
    (tmp_path / "images").mkdir()
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "images" / "0.png")], check=False)
    (left,) = (tmp_path / "images").iterdir()
    mine = left.with_name(re.sub(r"-\d+-", f"-{os.getpid()}-", left.name))
    others = [mine, left.with_name(".mine.part"), tmp_path / "a"]
    for other in others:  # of a process that lives, and of another program
        other.write_bytes(b"x")
    remove_parts(tmp_path)
    assert not left.exists()
    assert [other.read_bytes() for other in others] == [b"x"] * 3
