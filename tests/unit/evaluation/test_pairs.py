"""Manifests and images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.evaluation.pairs import as_float, load_images, read_manifest
from hspace_exp.io.atomic import save_png, write_text

HEADER = "prompt,profession,seed_index,target,strength,original,edited\n"


def test_manifest_paths_are_relative_to_it(tmp_path: Path) -> None:
    write_text(tmp_path / "manifest.csv", HEADER + '"a photo, of a nurse",nurse,3,male,1.5,images/o.png,images/e.png\n')
    (pair,) = read_manifest(tmp_path / "manifest.csv")
    assert (pair.prompt, pair.profession, pair.seed_index) == ("a photo, of a nurse", "nurse", 3)
    assert (pair.target, pair.strength) == ("male", 1.5)
    assert (pair.original, pair.edited) == (tmp_path / "images/o.png", tmp_path / "images/e.png")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no manifest"),
        ("", "lists no images"),
        (HEADER, "lists no images"),
        ("prompt,profession\na,b\n", "lacks the columns seed_index, target"),
        (HEADER + "a,b,three,male,1,o,e\n", "broken row"),
    ],
)
def test_bad_manifests(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        write_text(tmp_path / "manifest.csv", text)
    with pytest.raises(UserError, match=message):
        read_manifest(tmp_path / "manifest.csv")


def test_images_round_trip(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    save_png(tmp_path / "a.png", image)
    loaded = load_images([tmp_path / "a.png"] * 2)
    assert np.array_equal(loaded[1].numpy(), image)
    assert as_float(loaded).shape == (2, 3, 4, 6)
    assert as_float(loaded).max().item() == pytest.approx(image.max() / 255)


def test_threads_change_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / f"{i}.png" for i in range(9)]
    for i, file in enumerate(files):
        save_png(file, np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    found = []
    for threads in (1, 4):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(load_images(files))
        with pytest.raises(UserError, match=r"no image at .*gone\.png"):
            load_images([*files, tmp_path / "gone.png"])
    assert torch.equal(*found)


def test_bad_images_are_named(tmp_path: Path) -> None:
    save_png(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    save_png(tmp_path / "b.png", np.zeros((4, 8, 3), np.uint8))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    save_png(tmp_path / "c.png", noise)
    cut = (tmp_path / "c.png").read_bytes()[:2000]
    (tmp_path / "c.png").write_bytes(cut)
    (tmp_path / "d.png").write_bytes(b"hello")
    with pytest.raises(UserError, match=r"b\.png is 8 x 4 pixels"):
        load_images([tmp_path / "a.png", tmp_path / "b.png"])
    for name in ("c.png", "d.png"):
        with pytest.raises(UserError, match=rf"{name} is no whole image"):
            load_images([tmp_path / name])
    with pytest.raises(UserError, match="no image at"):
        load_images([tmp_path / "missing.png"])
