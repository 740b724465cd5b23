import io
import re
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from avatars_world import art, people
from hspace_exp.errors import UserError

pytest.importorskip("python_avatars")
PARTS = [
    *(("hair", name) for names in people.HAIR.values() for name in names),
    *(("facial_hair", name) for name in people.FACIAL_HAIR),
    *(("glasses", name) for name in people.GLASSES),
    *(("garment", name) for name in ("shirt_crew_neck", "shirt_scoop_neck", "shirt_v_neck", "hoodie")),
    *(("mouth", name) for name in sorted(set(people.MOUTHS))),
    *(("eyes", name) for name in sorted(set(people.EYES))),
    *(("eyebrows", name) for name in people.EYEBROWS),
    *(("nose", name) for name in people.NOSES),
]


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(f'<svg xmlns:xlink="http://www.w3.org/1999/xlink">{svg}</svg>')


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_parts_are_whole_coloured_and_refer_to_their_own_ids(kind: str, name: str) -> None:
    svg = art.part(kind, name, "#123456")
    root = parsed(svg)
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg)) == set(ids)
    assert ("#123456" in svg) == (kind in ("hair", "facial_hair", "garment"))
    assert "@" not in svg
    assert "filter" not in svg


def test_ids_of_two_parts_do_not_collide() -> None:
    def ids(svg: str) -> set[str]:
        return set(re.findall(r' id="([^"]+)"', svg))

    assert ids(art.part("hair", "bob"))
    assert not ids(art.part("hair", "bob")) & ids(art.part("hair", "caesar"))


def test_body_holds_nothing_but_skin() -> None:
    svg = art.body("#abcdef")
    fills = {node.get("fill") for node in parsed(svg).iter() if node.get("fill")}
    assert fills <= {"#abcdef", "#000000", "none", "white"}


def test_a_missing_extra_is_one_line_that_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_avatars", None)
    with pytest.raises(UserError, match=r"pip install 'hspace-exp\[avatars\]'") as caught:
        art.extra("python_avatars")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("style", [name.upper() for names in people.HAIR.values() for name in names])
def test_fragments_draw_what_the_package_draws(style: str) -> None:
    package = pytest.importorskip("python_avatars")
    resvg = pytest.importorskip("resvg_py")
    skin, hair, cloth = "#cf9060", "#724133", "#3b82c4"
    theirs = package.Avatar(
        top=package.HairType[style],
        eyebrows=package.EyebrowType.FLAT_NATURAL,
        eyes=package.EyeType.HAPPY,
        nose=package.NoseType.WIDE,
        mouth=package.MouthType.SMILE,
        facial_hair=package.FacialHairType.NONE,
        skin_color=skin,
        hair_color=hair,
        accessory=package.AccessoryType.NONE,
        clothing=package.ClothingType.HOODIE,
        clothing_color=cloth,
    ).render()
    face = [("mouth", "smile"), ("nose", "wide"), ("eyes", "happy"), ("eyebrows", "flat_natural")]
    ours = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 264 280">'
        + art.body(skin)
        + art.part("garment", "hoodie", cloth)
        + "".join(art.part(kind, name) for kind, name in face)
        + art.part("hair", style.lower(), hair)
        + "</svg>"
    )
    pictures = [
        np.asarray(
            Image.open(io.BytesIO(resvg.svg_to_bytes(svg_string=svg, width=264, height=280, background="#ffffff")))
        )
        for svg in (theirs, ours)
    ]
    # Only the fringes along edges may differ, which the package paints twice.
    difference = np.abs(pictures[0].astype(int) - pictures[1].astype(int)).max(-1)
    assert (difference > 24).mean() < 0.01
