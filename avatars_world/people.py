"""A person of this world as SVG layers: who they are (spec) and how this one looks (seed).

The seed decides hair style, colours, mouth and so on by draws that do not depend on the spec, so two specs that differ
in one attribute give, at equal seeds, the same person but for that attribute. Gender, age and skin tone are
presentations: a hair style, wrinkles and grey hair, a fill colour.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from avatars_world import art, hats, outfits, props
from avatars_world.shapes import both, circle, group, path, shade, stroke
from avatars_world.specs import Spec

T = TypeVar("T")
VIEW_BOX = (-20, 0, 304, 304)

# Disjoint on purpose: no style is seen on both.
HAIR = {
    "female": ("bob", "curly", "long_not_too_long", "mia_wallace", "straight_1", "straight_strand", "loose_hair"),
    "male": ("short_flat", "short_round", "short_waved", "caesar", "caesar_side_part", "short_curly", "quiff"),
}
# Per skin tone, so that hair always stands out from the face; every tone has dark, red and blond ones.
HAIR_COLOURS = {
    "light": ("#a55728", "#2c1b18", "#b58143", "#d6b370", "#724133", "#4a312c", "#c93305"),
    "tan": ("#2c1b18", "#4a312c", "#1d1a22", "#e3c27c", "#7a2a12", "#c93305"),
    "dark": ("#15100f", "#211817", "#2a2433", "#d6b370", "#c2410c"),
}
OLD_HAIR_COLOURS = ("#e8e4e4", "#d3d3d8", "#f2efec", "#c3c6cc")
FACIAL_HAIR = ("beard_light", "beard_medium", "beard_magestic", "moustache_magnum", "moustache_fancy")
SKIN = {"light": "#f9d3b4", "tan": "#cf9060", "dark": "#6d432e"}
GLASSES = ("round", "prescription_02")
FRAMES = ("#20242b", "#6b1f2a", "#1f3f7a")
P_GLASSES = {"young": 0.12, "old": 0.45}
P_FACIAL_HAIR = 0.5
MOUTHS = ("smile", "smile", "twinkle", "serious", "default")
EYES = ("default", "default", "happy")
EYEBROWS = ("default_natural", "raised_excited_natural", "flat_natural")
NOSES = ("default", "small", "wide")

Layer = tuple[str, str]  # the part that the drawing shows ("" for shading of what lies below) and its SVG


@dataclass(frozen=True)
class Look:
    """Everything about one drawing that its spec leaves open."""

    hair: str
    hair_colour: str
    facial_hair: str | None
    skin: str
    glasses: str | None
    frame: str
    mouth: str
    eyes: str
    eyebrows: str
    nose: str
    fabric_shade: float
    plain_colour: int
    plain_kind: int
    shift: float
    scale: float


def look(spec: Spec, seed: int) -> Look:
    """How the person of a seed looks, as far as the spec leaves it open."""
    draw = random.Random(f"person:{seed}").random
    hair, hair_colour, has_beard, beard, skin, has_glasses, glasses, frame = (draw() for _ in range(8))
    mouth, eyes, eyebrows, nose, fabric, colour, kind, shift, scale = (draw() for _ in range(9))
    bearded = spec.gender == "male" and has_beard < P_FACIAL_HAIR
    return Look(
        hair=_at(HAIR[spec.gender], hair),
        hair_colour=_at(OLD_HAIR_COLOURS if spec.age == "old" else HAIR_COLOURS[spec.skin_tone], hair_colour),
        facial_hair=_at(FACIAL_HAIR, beard) if bearded else None,
        skin=shade(SKIN[spec.skin_tone], 0.12 * (skin - 0.5)),
        glasses=_at(GLASSES, glasses) if has_glasses < P_GLASSES[spec.age] else None,
        frame=_at(FRAMES, frame),
        mouth=_at(MOUTHS, mouth),
        eyes=_at(EYES, eyes),
        eyebrows=_at(EYEBROWS, eyebrows),
        nose=_at(NOSES, nose),
        fabric_shade=0.2 * (fabric - 0.5),
        plain_colour=int(colour * len(outfits.PLAIN_COLOURS)),
        plain_kind=int(kind * (len(outfits.PLAIN_NECKS) + 1)),
        shift=12 * (shift - 0.5),
        scale=0.95 + 0.05 * scale,
    )


def layers(spec: Spec, seed: int) -> list[Layer]:
    """The person as drawings from back to front, each of one part: "skin", "gender", "profession", "glasses" or ""."""
    how = look(spec, seed)
    outfit = outfits.OUTFITS.get(spec.subject)
    if outfit is None:
        garment = outfits.plain_clothes(how.plain_colour, how.plain_kind)
    else:
        garment = outfit.garment(shade(outfit.colour, how.fabric_shade))
    drawn = [("skin", art.body(how.skin)), ("profession", garment), ("", _face(how))]
    if spec.age == "old":
        drawn.append(("", _wrinkles(how.skin)))
    if how.facial_hair:
        drawn.append(("gender", art.part("facial_hair", how.facial_hair, how.hair_colour)))
    drawn.append(("gender", _hair(spec, how, outfit)))
    if how.glasses:
        drawn.append(("glasses", art.glasses(how.glasses, how.frame)))
    if outfit:
        if outfit.hat:
            drawn.append(("profession", hats.hat(outfit.hat, outfit.hat_colour)))
        prop, grip = props.prop(outfit.prop)
        drawn.append(("profession", prop))
        if grip:
            drawn.append(("skin", _hand(how.skin, *grip)))
    place = f"translate({132 + how.shift:.2f} 304) scale({how.scale:.4f}) translate(-132 -304)"
    return [(part, group([drawing], place)) for part, drawing in drawn]


def _at(choices: Sequence[T], draw: float) -> T:
    return choices[int(draw * len(choices))]


def _face(how: Look) -> str:
    eyes = art.part("eyes", how.eyes).replace('fill-opacity="0.599999964"', 'fill-opacity="0.85"')
    return art.part("mouth", how.mouth) + art.part("nose", how.nose) + eyes + art.part("eyebrows", how.eyebrows)


def _wrinkles(skin: str) -> str:
    """Forehead lines, crow's feet, eye bags and the folds beside the mouth."""
    line = shade(skin, -0.38)
    forehead = stroke("M106 66C120 60 144 60 158 66M102 78C120 71 144 71 162 78", line, 4.2)
    side = stroke("M98 126C104 131 112 131 118 127M104 138C98 146 97 156 101 163M88 104L81 99M88 112L80 113", line, 4.2)
    return forehead + both(side)


def _hair(spec: Spec, how: Look, outfit: outfits.Outfit | None) -> str:
    drawing = art.part("hair", how.hair, how.hair_colour)
    if outfit is None or outfit.hat not in hats.CROWN_COVERING:
        return drawing
    below = f'<clipPath id="below-the-hat"><rect x="-40" y="{hats.BRIM}" width="344" height="300"/></clipPath>'
    sideburns = both(path("M75 62H89C90 84 88 104 84 122L75 108Z", how.hair_colour)) if spec.gender == "male" else ""
    return f'{below}<g clip-path="url(#below-the-hat)">{drawing}</g>{sideburns}'


def _hand(skin: str, x: float, y: float) -> str:
    return circle(x, y, 14, skin) + stroke(
        f"M{x - 4} {y - 4}H{x + 11}M{x - 4} {y + 4}H{x + 11}", shade(skin, -0.2), 2.5
    )
