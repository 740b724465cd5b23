from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatars_world import preview

pytest.importorskip("python_avatars")
pytest.importorskip("resvg_py")


def test_sheets_are_written_and_hold_what_they_label(tmp_path: Path) -> None:
    assert preview.main(["--out", str(tmp_path), "--seed", "3", "--columns", "1"]) == 0
    heights = {"professions": 37, "scenes": 12, "looks": 14}
    for name, rows in heights.items():
        page = np.asarray(Image.open(tmp_path / f"{name}.png"))
        assert page.shape[0] == rows * (preview.SIZE + 14)
    assert (np.asarray(Image.open(tmp_path / "scenes.png"))[:128, :128] == preview.render_scene("hospital", 3)).all()


def test_masks_become_their_colours() -> None:
    masks = {name: np.zeros((2, 2), bool) for name in ("person", *preview.MASK_COLOURS)}
    masks["skin"][0, 1] = masks["background"][1, 0] = True
    picture = preview.picture_of(masks)
    assert tuple(picture[0, 1]) == preview.MASK_COLOURS["skin"]
    assert tuple(picture[1, 0]) == preview.MASK_COLOURS["background"]
    assert not picture[0, 0].any()


def test_wrong_columns_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert preview.main(["--out", str(tmp_path), "--columns", "0"]) == 2
    assert capsys.readouterr().err == "error: --columns must be at least 1, got 0\n"
