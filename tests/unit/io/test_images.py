from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hspace_exp.io.images import is_whole, missing, save_all, saver, to_uint8


def test_images_round_trip(tmp_path: Path) -> None:
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
