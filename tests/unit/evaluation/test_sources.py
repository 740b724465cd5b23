"""Folders and tables of images from elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hspace_exp.errors import UserError
from hspace_exp.evaluation.sources import find_source
from hspace_exp.generation.manifest import write_pairs
from hspace_exp.io.atomic import save_png


def make(folder: Path, names: list[str], size: int = 8) -> Path:
    for i, name in enumerate(names):
        save_png(folder / name, np.full((size, size, 3), 10 * i, np.uint8))
    return folder


def test_subfolders_are_professions(tmp_path: Path) -> None:
    source = find_source(make(tmp_path, ["construction_worker/a.png", "nurse/a.png", "nurse/b.png"]), None)
    assert [p.profession for p in source.pairs] == ["construction worker", "nurse", "nurse"]
    assert source.pairs[0].prompt == "a photo of a construction worker"
    assert (source.paired, source.prompted) == (False, True)
    assert len({p.name for p in source.pairs}) == 3


def test_a_flat_folder_has_neither_prompts_nor_professions(tmp_path: Path) -> None:
    source = find_source(make(tmp_path, ["a.png", "b.png"]), None)
    assert ({p.profession for p in source.pairs}, source.prompted) == ({"all"}, False)


def test_equal_names_pair_and_others_are_a_set(tmp_path: Path) -> None:
    images = make(tmp_path / "edited", ["nurse/a.png", "nurse/b.png"])
    partners = make(tmp_path / "original", ["nurse/a.png", "nurse/b.png", "nurse/c.png"])
    source = find_source(images, partners)
    assert source.paired
    assert [p.original for p in source.pairs] == [partners / "nurse/a.png", partners / "nurse/b.png"]
    other = make(tmp_path / "real", ["1.png", "2.png"], size=16)
    source = find_source(images, other)
    assert (source.paired, source.reference) == (False, (other / "1.png", other / "2.png"))
    with pytest.raises(UserError, match=r"lacks 1 of 2 images, e\.g\. nurse/b"):
        find_source(images, make(tmp_path / "part", ["nurse/a.png"]))


def test_a_table_may_know_more(tmp_path: Path) -> None:
    make(tmp_path, ["a.png", "b.png", "before.png"])
    table = tmp_path / "list.csv"
    table.write_text("image,profession,target,truth,original\na.png,nurse,male,male,before.png\nb.png,cook,,,\n")
    source = find_source(table, None)
    first, second = source.pairs
    assert (first.target, first.original, second.original) == ("male", tmp_path / "before.png", tmp_path / "b.png")
    assert (source.paired, source.truth) == (True, {first.name: "male"})
    with pytest.raises(UserError, match="partners already"):
        find_source(table, tmp_path)


def test_a_written_manifest_is_read_again(tmp_path: Path) -> None:
    images = make(tmp_path / "edited", ["nurse/a.png", "nurse/b.png"])
    source = find_source(images, make(tmp_path / "original", ["nurse/a.png", "nurse/b.png"]))
    write_pairs(tmp_path / "out", source.pairs)
    again = find_source(tmp_path / "out", None)
    assert [p.name for p in again.pairs] == [p.name for p in source.pairs]
    assert [p.edited.resolve() for p in again.pairs] == [p.edited.resolve() for p in source.pairs]
    assert again.paired


def test_bad_input_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        find_source(tmp_path / "nowhere", None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no images in"):
        find_source(tmp_path / "empty", None)
    (tmp_path / "t.csv").write_text("file\na.png\n")
    with pytest.raises(UserError, match="the column 'image', got file"):
        find_source(tmp_path / "t.csv", None)
    mixed = make(make(tmp_path / "mixed", ["a.png"]), ["b.png"], size=16)
    with pytest.raises(UserError, match=r"a\.png is 8 x 8, .*b\.png is 16 x 16 pixels"):
        find_source(mixed, None)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="leave out what is no image"):
        find_source(tmp_path / "broken", None)
