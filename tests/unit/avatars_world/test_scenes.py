import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from avatars_world.brush import Brush
from avatars_world.scenes import TEXTURED_SCENES, scene_svg
from hspace_exp.avatars.world import SCENES
from hspace_exp.errors import UserError

resvg_py = pytest.importorskip("resvg_py")


def raster(svg: str) -> np.ndarray:
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=128, height=128))
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize("scene", SCENES)
def test_scenes_are_pure_varied_opaque_and_without_text(scene: str) -> None:
    svgs = [scene_svg(scene, seed) for seed in range(4)]
    assert svgs == [scene_svg(scene, seed) for seed in range(4)]
    assert len(set(svgs)) == 4
    tags = {element.tag.rsplit("}", 1)[-1] for element in ET.fromstring(svgs[0]).iter()}
    assert "text" not in tags
    image = raster(svgs[0])
    assert image.shape == (128, 128, 4)
    assert (image[..., 3] == 255).all()


def test_scenes_are_told_apart_by_sides_and_top() -> None:
    """A nearest-mean rule on coarse colours that a person in the middle leaves visible names the held-out scenes."""
    visible = np.ones((16, 16), dtype=bool)
    visible[3:, 3:13] = False

    def features(scene: str, seed: int) -> np.ndarray:
        image = raster(scene_svg(scene, seed))[..., :3].astype(float)
        coarse = image.reshape(16, 8, 16, 8, 3).mean(axis=(1, 3))
        # scenes are mirrored at random, the mean of both sides is not
        return ((coarse + coarse[:, ::-1]) / 2)[visible].ravel()

    means = {scene: np.mean([features(scene, seed) for seed in range(8)], axis=0) for scene in SCENES}
    for scene in SCENES:
        for seed in range(100, 104):
            seen = features(scene, seed)
            distance = {name: np.linalg.norm(seen - mean) for name, mean in means.items()}
            assert min(distance, key=distance.__getitem__) == scene


def test_textured_scenes_have_detail_everywhere() -> None:
    """In textured scenes few 8-pixel blocks are flat."""

    def busy(scene: str) -> float:
        grey = raster(scene_svg(scene, 0))[..., :3].mean(axis=-1)
        return float((grey.reshape(16, 8, 16, 8).std(axis=(1, 3)) > 2).mean())

    plain = [busy(scene) for scene in ("hospital", "beach", "kitchen")]
    assert min(busy(scene) for scene in TEXTURED_SCENES) > max(0.6, *plain)


def test_unknown_scene_lists_the_choices() -> None:
    with pytest.raises(UserError, match=r"unknown scene 'forrest'\. Did you mean 'forest'"):
        scene_svg("forrest", 0)


def test_tint_without_variation_keeps_order_of_lightness() -> None:
    brush = Brush("x")
    light, plain, dark = (int(brush.tint("#808080", light=d)[1:3], 16) for d in (0.2, 0.0, -0.2))
    assert light > plain > dark
    assert brush.tint("#ffffff", light=0.5) == "#ffffff"
