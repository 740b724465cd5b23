from functools import partial
from pathlib import Path

import pytest
import torch

from avatars_world.oracle import OracleMasks
from hspace_exp.errors import UserError
from hspace_exp.masks import ImageMaker
from hspace_exp.models.backbone import Backbone
from hspace_exp.training.dataset import attribute_maps, positives


def test_drawn_images_come_with_exact_maps(tiny_backbone: Backbone, tmp_path: Path) -> None:
    pytest.importorskip("python_avatars")
    pytest.importorskip("resvg_py")
    oracle = OracleMasks()
    assert isinstance(oracle, ImageMaker)
    make = partial(oracle.make_images, tiny_backbone, "gender", "female", "gender", image_seed=0)
    found = positives(tiny_backbone, tmp_path, 2, make, {})
    assert found.heatmaps is None
    maps, _ = attribute_maps(found, oracle, tmp_path / "maps.safetensors")
    assert set(maps.unique().tolist()) == {0, 255}
    assert 0.02 < (maps > 0).float().mean() < 0.6
    with pytest.raises(UserError, match="known of drawn images only"):
        oracle.maps(torch.zeros(1, 8, 8, 3, dtype=torch.uint8))


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "resvg_py", None)
    with pytest.raises(UserError, match=r"pip install 'hspace-exp\[avatars\]'"):
        OracleMasks()
