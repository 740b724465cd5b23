"""Folders and tables of images from elsewhere."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


def test_what_is_hidden_or_of_the_other_set_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["nurse/a.png", "nurse/b.png"]
    images = make(tmp_path / "mine", [*names, ".ipynb_checkpoints/a.png", "nurse/._a.png", "real/1.png", "real/2.png"])
    (images / "nurse" / "._b.png").write_bytes(b"of another system")
    source = find_source(images, images / "real")
    assert [p.edited.relative_to(images).as_posix() for p in source.pairs] == names
    assert source.reference == (images / "real/1.png", images / "real/2.png")
    assert "left out are 5 images that are hidden or of the other set, e.g." in caplog.text
    assert len(find_source(images / "nurse", images).reference) == 2  # the images are not their own reference


def test_a_table_of_excel_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, ["a.png", "b.png", "c.png"])
    table = tmp_path / "list.csv"
    text = 'image, Prompt ,seed\r\na.png,"a photo, of a nurse",3\r\nb.png,,4\r\nc.png\r\n'
    table.write_text(text, encoding="utf-8-sig")
    source = find_source(table, None)
    assert [p.prompt for p in source.pairs] == ["a photo, of a nurse", "", ""]
    assert source.prompted
    assert "not used: seed; known are image, profession, prompt" in caplog.text
    assert "2 of 3 images have no prompt" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,prompt\na.png,a photo, of a nurse\n", "row 1 of .* has more cells than the heading"),
        ("image,prompt\na.png,x\n,a nurse\n", "row 2 of .* names no image"),
        ("a.png,a photo of a nurse\n", "lists no images"),
        ("a.png,x\nb.png,y\n", "expected the column 'image'"),
        ("image;prompt\na.png;x\n", "expected the column 'image'"),
        ("\ufeffimage\na\0b.png\n", "cannot be had"),
    ],
)
def test_a_table_of_another_form_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    make(tmp_path, ["a.png"])
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        find_source(tmp_path / "t.csv", None)
    assert "\n" not in str(caught.value)


def test_images_that_nobody_knows_anything_of_have_no_prompt(tmp_path: Path) -> None:
    source = find_source(make(tmp_path / "mine", ["a.png", "b.png"]), None)
    assert [p.prompt for p in source.pairs] == ["", ""]
    write_pairs(tmp_path / "out", source.pairs)
    assert not find_source(tmp_path / "out", None).prompted


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """The beginning of a PNG that says it has so many pixels."""
    header = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    every = [b"IHDR" + header, *chunks, b"IDAT", b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in every
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (png(20_000, 20_000), "exceeds limit of"),
        (png(13_000, 13_000), "exceeds limit of"),
        (png(8, 8, b"zTXtnotes\0\0" + zlib.compress(b" " * (2 << 20))), "too large"),
    ],
)
def test_an_image_that_pil_does_not_open_is_named_in_one_line(tmp_path: Path, data: bytes, reason: str) -> None:
    (make(tmp_path, ["a.png"]) / "b.png").write_bytes(data)
    with pytest.raises(UserError, match=rf"b\.png cannot be had .*{reason}") as caught:
        find_source(tmp_path, None)
    assert "\n" not in str(caught.value)


def test_a_turned_photo_has_the_size_that_is_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 16)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("RGB", (16, 8)).save(tmp_path / "b.jpg")
    assert len(find_source(tmp_path, None).pairs) == 2
