"""Files that changed by themselves, or are others', are noticed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hspace_exp.io.checksums import FILE, clear, is_noted, is_sound, is_whole, kept_json, note


def make(folder: Path, **texts: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]


def test_a_file_is_sound_as_it_was_noted_and_in_its_place_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = make(tmp_path / "a", one="first", two="second")
    note(tmp_path / "a", one)
    assert is_sound(one)
    assert not is_sound(two)
    assert "two has no checksum: it is made again" in caplog.text
    note(tmp_path / "a", two)
    assert is_sound(one)
    assert is_sound(two)
    shutil.copy(two, one)
    assert not is_sound(one)
    assert "one is damaged or another's: it is made again" in caplog.text
    caplog.clear()
    assert not is_sound(tmp_path / "a" / "absent")
    assert not caplog.text


@pytest.mark.parametrize("listed", [b"", b"{", b"[]", b"\xff\xfe{}", b'{"one": 1}', b"null"])
def test_damaged_checksums_make_nothing_sound(tmp_path: Path, listed: bytes) -> None:
    (one,) = make(tmp_path, one="first")
    note(tmp_path, one)
    (tmp_path / FILE).write_bytes(listed)
    assert not is_sound(one)
    note(tmp_path, one)
    assert is_sound(one)


def test_a_folder_in_the_place_of_a_file_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path / "one", inside="text")
    assert not is_sound(tmp_path / "one")
    assert not (tmp_path / "one").exists()
    assert "folder in the place of a file" in caplog.text
    (two,) = make(tmp_path, two="text")
    clear(two)
    assert two.exists()


def test_checksums_go_with_their_folder_and_what_is_damaged_is_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = make(tmp_path / "run", record="numbers") + make(tmp_path / "run" / "images", a="pixels", b="pixels")
    assert not is_whole(tmp_path / "run")
    assert is_noted(files[0]) is None
    note(tmp_path / "run", *files)
    assert is_whole((tmp_path / "run").rename(tmp_path / "moved"))
    run = tmp_path / "moved"
    (run / "images" / "a").write_text("others")
    (run / "images" / "b").unlink()
    (run / "record").write_text("number")
    assert is_noted(run / "record") is False
    assert not is_whole(run)
    assert [p.name for p in sorted(run.rglob("*")) if p.is_file()] == [FILE]
    assert "images/a is damaged" in caplog.text
    assert "images/b is gone" in caplog.text


def test_a_strangers_checksums_remove_nothing_elsewhere(tmp_path: Path) -> None:
    (mine,) = make(tmp_path, mine="text")
    make(tmp_path / "run", record="numbers")
    (tmp_path / "run" / "link").symlink_to(tmp_path)
    names = ("../mine", str(mine), "link/mine", "a\0b", "")
    (tmp_path / "run" / FILE).write_text(json.dumps(dict.fromkeys(names, "0")))
    assert not is_whole(tmp_path / "run")
    assert mine.read_text() == "text"
    assert (tmp_path / "run" / "record").exists()


def test_plain_data_is_made_once_and_again_where_it_is_damaged(tmp_path: Path) -> None:
    made = []

    def make() -> dict[str, int]:
        made.append(1)
        return {"n": 8}

    path = tmp_path / "digest" / "numbers.json"
    assert [kept_json(path, make) for _ in range(2)] == [{"n": 8}] * 2
    assert len(made) == 1
    path.write_text('{"n": 9}')
    assert kept_json(path, make) == {"n": 8}
    assert len(made) == 2
