from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hspace_exp.errors import UserError
from hspace_exp.io.atomic import save_png
from hspace_exp.io.images import as_float, is_whole, load_images, missing, save_all, saver, to_uint8


def test_written_images_round_trip(tmp_path: Path) -> None:
    images = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    save_all(paths, images)
    assert missing(paths) == []
    for path, image in zip(paths, images, strict=True):
        found = np.asarray(Image.open(path)).astype(float) / 255
        np.testing.assert_allclose(found, image.permute(1, 2, 0).numpy(), atol=0.5 / 255 + 1e-6)


def test_values_are_clipped_and_rounded() -> None:
    assert to_uint8(torch.tensor([-1.0, 0.499 / 255, 0.501 / 255, 2.0]).view(1, 1, 1, 4)).ravel().tolist() == [
        0,
        0,
        1,
        255,
    ]


@pytest.mark.parametrize("cut", [0, 8, 40, -1, -12])
def test_damaged_files_are_noticed(tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.png"
    save_all([path], torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert is_whole(path)
    path.write_bytes(path.read_bytes()[:cut])
    assert missing([path, tmp_path / "absent.png"]) == [path, tmp_path / "absent.png"]
    assert "x.png is damaged" in caplog.text
    assert "absent" not in caplog.text


def test_images_are_saved_in_the_background_and_errors_come_back(tmp_path: Path) -> None:
    images = torch.rand(2, 3, 8, 8)
    files = [tmp_path / f"{i}.png" for i in range(4)]
    with saver() as save:
        save(files[:2], images)
        save(files[2:], images)
    assert missing(files) == []
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"), saver() as save:
        save([tmp_path / "file" / "x.png"] * 2, images)


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
        with pytest.raises(UserError, match=r"the image .*gone\.png cannot be had"):
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
        with pytest.raises(UserError, match=rf"{name} cannot be had .*: delete it"):
            load_images([tmp_path / name])
    with pytest.raises(UserError, match=r"missing\.png cannot be had"):
        load_images([tmp_path / "missing.png"])
