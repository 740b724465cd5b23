from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hspace_exp.errors import UserError
from hspace_exp.io.atomic import save_png
from hspace_exp.io.images import as_float, is_whole, load_images, missing, read_image, save_all, saver, to_uint8


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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_read_upright(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((8, 16, 3), np.uint8)
    upright[:4, :8], upright[4:, 8:] = 255, 90
    # how a camera stores it that was held so: what ``exif_transpose`` does, undone by hand
    undone = [np.array, np.fliplr, lambda x: np.rot90(x, 2), np.flipud, lambda x: x.swapaxes(0, 1)]
    undone += [np.rot90, lambda x: np.rot90(x, 2).swapaxes(0, 1), lambda x: np.rot90(x, -1)]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undone[orientation - 1](upright)))
    stored.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), upright)


def test_every_mode_is_read_as_it_is_seen(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (4, 6), dtype=np.uint8)
    rgb = np.stack([grey, grey.T.reshape(4, 6), 255 - grey], axis=-1)
    alpha = np.zeros((4, 6), np.uint8)
    alpha[:2] = 255
    on_white = np.where(alpha[..., None] > 0, rgb, 255)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "grey16.png")
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([rgb, alpha])).save(tmp_path / "rgba.png")
    Image.fromarray(np.dstack([grey, alpha])).save(tmp_path / "la.png")
    Image.fromarray(rgb).quantize(24).save(tmp_path / "palette.png")
    Image.fromarray(grey).quantize(256).save(tmp_path / "clear.png", transparency=0)
    Image.new("CMYK", (6, 4), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg", quality=95)
    Image.fromarray(grey > 127).save(tmp_path / "bits.png")
    read = {path.stem: read_image(path) for path in tmp_path.iterdir()}
    for name in ("grey16", "grey"):
        assert np.array_equal(read[name], np.repeat(grey[..., None], 3, -1)), name
    assert np.array_equal(read["rgba"], on_white)
    assert np.array_equal(read["la"], np.where(alpha[..., None] > 0, grey[..., None], 255).repeat(3, -1))
    assert np.array_equal(read["palette"], rgb)
    assert (read["clear"] == 255).any()
    assert np.abs(read["cmyk"].astype(int) - (255, 0, 0)).max() < 6
    assert np.array_equal(read["bits"], np.where(grey > 127, 255, 0)[..., None].repeat(3, -1))


def test_an_image_says_what_made_it_and_where_it_belongs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = [tmp_path / name for name in ("nurse/0.png", "nurse/1.png", "cook/0.png")]
    save_all(files, torch.rand(3, 3, 8, 8), "digest")
    assert missing(files, "digest") == missing(files) == []
    assert missing(files, "another") == files
    for other in files[1:]:
        files[0].write_bytes(other.read_bytes())
        assert missing(files, "digest") == files[:1]
    save_all(files[:1], torch.rand(1, 3, 8, 8))  # of nobody
    assert missing(files, "digest") == files[:1]
    assert "0.png is damaged or another's: it is made again" in caplog.text
    files[1].unlink()
    files[1].mkdir()
    assert missing(files[1:2]) == files[1:2]
    assert not files[1].exists()
