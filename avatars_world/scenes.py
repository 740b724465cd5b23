"""The twelve backgrounds of the world: flat vector scenes, each varied by its seed.

Whoever stands in front covers the middle (about x 24 to 104, y 20 to 128 of 128), so what tells a scene is at the sides
and at the top. Forest, city and library are textured on purpose: there, claims that a background is kept get hard.
Details are at least two pixels wide at 128 px and textures low in contrast, so that a small autoencoder can show them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from avatars_world import scenes_halls, scenes_indoor, scenes_outdoor, scenes_urban
from avatars_world.brush import SIZE, Brush
from avatars_world.specs import check_value
from hspace_exp.avatars.world import SCENES

TEXTURED_SCENES = ("forest", "city", "library")

_PAINTERS: Mapping[str, Callable[[Brush], None]] = MappingProxyType(
    {
        "hospital": scenes_indoor.hospital,
        "kitchen": scenes_indoor.kitchen,
        "office": scenes_indoor.office,
        "forest": scenes_outdoor.forest,
        "beach": scenes_outdoor.beach,
        "city": scenes_urban.city,
        "library": scenes_halls.library,
        "farm": scenes_outdoor.farm,
        "classroom": scenes_indoor.classroom,
        "street": scenes_urban.street,
        "garage": scenes_halls.garage,
        "stage": scenes_halls.stage,
    }
)
# Colour and opacity of the light that lies over everything: neutral, warm, cool.
_LIGHTS = (("#ffffff", 0.0), ("#ffffff", 0.06), ("#ffb25e", 0.10), ("#ff9a5a", 0.07), ("#7c95cf", 0.07))


def scene_svg(scene: str, seed: int) -> str:
    """An SVG document of one instance of a scene, 128 by 128 units, without text; a pure function of its arguments."""
    check_value("scene", scene, SCENES)
    brush = Brush(f"{scene}:{seed}")
    mirrored = brush.chance(0.5)
    colour, opacity = brush.pick(_LIGHTS)
    _PAINTERS[scene](brush)
    if opacity:
        brush.rect(0, 0, SIZE, SIZE, colour, opacity=opacity)
    return brush.svg(mirrored)
