"""What a record says of where it comes from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import hspace_exp
from hspace_exp.io.digest import config_digest
from hspace_exp.results.provenance import git_state, shareable


def test_shareable_hides_where_the_package_is_and_keeps_the_digest() -> None:
    package = Path(hspace_exp.__file__).resolve().parent
    config = {
        "model": {"source": str(package / "avatars" / "weights"), "name": "avatars"},
        "elsewhere": ["/data/models/sd15", 3, None],
    }
    shown = shareable(config)
    assert shown["model"] == {"source": "/hspace_exp/avatars/weights", "name": "avatars"}
    assert shown["elsewhere"] == config["elsewhere"]
    assert config_digest(shown) == config_digest(config)
    assert str(package.parent) not in str(shown["model"])


def test_files_that_git_does_not_know_are_dirty_where_they_decide_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    def dirty() -> object:
        state = git_state(tmp_path)
        assert state is not None
        return state["dirty"]

    monkeypatch.delenv("HSPACE_EXP_COMMIT", raising=False)
    assert git_state(tmp_path) is None
    for name in ("conf", "hspace_exp", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / ".gitignore").write_text("*.pyc\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "a")
    (tmp_path / "notes" / "x.md").touch()
    (tmp_path / "hspace_exp" / "x.pyc").touch()
    assert dirty() is False
    (tmp_path / "conf" / "mine.yaml").touch()
    assert dirty() is True
    git("add", "-A")
    git("commit", "-qm", "b")
    assert dirty() is False
    (tmp_path / "conf" / "mine.yaml").write_text("a: 1")
    assert dirty() is True
    monkeypatch.setenv("HSPACE_EXP_COMMIT", "abc")
    assert git_state(tmp_path) == {"commit": "abc", "dirty": False}
