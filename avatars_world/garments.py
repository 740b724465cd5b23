"""What people of this world wear: a plain top of python-avatars with our own coats, aprons, vests and collars over it.

Coordinates are those of the portrait (``art``): shoulders from (32, 271) over (100, 200) to (232, 271), neck between
x = 108 and 156; the picture ends at y = 304.
"""

from __future__ import annotations

from collections.abc import Callable

from avatars_world.art import part
from avatars_world.shapes import both, circle, path, rect, ring, shade, stroke

_PANEL = "M104 198C96 226 96 262 106 345L30 345L32 271C32 233 63 203 104 198Z"
_SLEEVELESS = "M104 198C96 226 96 262 106 345L62 345L62 262C62 236 66 222 74 208C83 203 93 199 104 198Z"
_LAPEL = "M103 196L78 232L90 239L80 248L108 318C97 268 96 226 107 199Z"
_COLLAR = "M106 192C98 198 94 206 96 216L116 232L130 218C118 214 108 206 106 192Z"


def plain(colour: str, neck: str = "crew_neck") -> str:
    """A pullover; ``neck`` is "crew_neck", "scoop_neck" or "v_neck"."""
    return part("garment", f"shirt_{neck}", colour) + rect(32, 278, 200, 70, colour)


def collared(colour: str, collar: str) -> str:
    """A shirt with a turned-down collar."""
    return plain(colour) + both(path(_COLLAR, collar))


def turtleneck(colour: str) -> str:
    """A pullover with a high collar."""
    return plain(colour) + path("M104 182H160V210C150 222 114 222 104 210Z", shade(colour, -0.12))


def tie(colour: str) -> str:
    """A necktie over whatever is worn."""
    return path("M124 216H140L138 230L150 300L132 320L114 300L126 230Z", colour)


def suit(colour: str, shirt: str, tie_colour: str | None) -> str:
    """A jacket with lapels over a shirt, with or without a tie."""
    inside = collared(shirt, shade(shirt, 0.5)) + (tie(tie_colour) if tie_colour else "")
    return inside + both(path(_PANEL, colour), path(_LAPEL, shade(colour, -0.22)))


def coat(colour: str, inside: str) -> str:
    """An open coat over an inner garment's SVG."""
    return inside + both(path(_PANEL, colour), path(_LAPEL, shade(colour, -0.1)))


def cardigan(colour: str, shirt: str) -> str:
    """A buttoned cardigan over a shirt."""
    panel = "M104 198C100 226 112 262 132 276V345H30L32 271C32 233 63 203 104 198Z"
    return plain(shirt) + both(path(panel, colour)) + circle(132, 290, 5, shade(colour, 0.55))


def waistcoat(colour: str, shirt: str, tie_colour: str | None) -> str:
    """A sleeveless vest over a shirt."""
    inside = collared(shirt, shade(shirt, -0.08)) + (tie(tie_colour) if tie_colour else "")
    return inside + both(path(_SLEEVELESS, colour))


def reflective(colour: str, shirt: str, band: str) -> str:
    """A safety vest with broad bands."""
    bands = path("M82 204L94 199.5L94 345H82Z", band) + rect(62, 262, 42, 13, band)
    return plain(shirt) + both(path(_SLEEVELESS, colour), bands)


def apron(colour: str, shirt: str) -> str:
    """A bib apron over a collared shirt."""
    strap = path("M88 205L100 200L108 238H92Z", colour)
    return collared(shirt, shade(shirt, -0.1)) + both(strap) + path("M90 234H174L182 345H82Z", colour)


def overall(colour: str, shirt: str) -> str:
    """Dungarees over a pullover."""
    strap = path("M78 209L94 202L102 250H84Z", colour)
    bib = path("M82 240H182V345H82Z", colour) + rect(110, 262, 44, 26, shade(colour, -0.18), 4)
    return plain(shirt) + both(strap) + bib + both(circle(92, 247, 6, "#f2c14e"))


def jumpsuit(colour: str, trim: str) -> str:
    """A working suit with a zip and a breast pocket."""
    zip_ = rect(128, 214, 8, 130, trim)
    return collared(colour, trim) + zip_ + rect(70, 246, 36, 24, shade(colour, -0.2), 3)


def jumpsuit_in(trim: str) -> Callable[[str], str]:
    """``jumpsuit`` with its trim fixed."""
    return lambda colour: jumpsuit(colour, trim)


def waistcoat_plain(colour: str, shirt: str) -> str:
    """A sleeveless vest over a pullover."""
    return plain(shirt) + both(path(_SLEEVELESS, colour))


def suspenders(colour: str) -> str:
    """Braces over whatever is worn."""
    return both(path("M84 205L97 200L103 345H87Z", colour))


def uniform(colour: str, trim: str, tie_colour: str) -> str:
    """A service shirt with epaulettes and a tie."""
    epaulette = path("M46 240L66 216L84 208L90 216L62 244Z", trim)
    return collared(colour, shade(colour, -0.2)) + tie(tie_colour) + both(epaulette)


def scrubs(colour: str) -> str:
    """A hospital tunic with a breast pocket."""
    return plain(colour, "v_neck") + rect(158, 250, 34, 30, shade(colour, -0.16), 3)


def chef_coat(colour: str, buttons: str, scarf: str) -> str:
    """A double-breasted kitchen coat with a neckerchief."""
    knot = path(
        "M102 196C112 216 152 216 162 196L166 208C154 226 140 226 136 224L144 246L132 240L120 246L128 224Z", scarf
    )
    rows = "".join(circle(x, y, 5.5, buttons) for x in (112, 152) for y in (258, 284))
    return plain(colour) + stroke("M108 226L98 345", shade(colour, -0.2), 4) + rows + knot


def robe(colour: str, bands: str) -> str:
    """A court robe with two white bands at the neck."""
    folds = both(stroke("M84 236L78 345", shade(colour, 0.2), 4))
    band = path("M131 216L118 212L106 262L128 262Z", bands)
    return (
        plain(colour) + folds + both(band, path("M106 194C100 206 112 222 132 224V212C118 210 110 204 106 194Z", bands))
    )


def maid_dress(colour: str, apron_colour: str) -> str:
    """A dark dress under a frilled white apron."""
    frill = "M92 206C78 214 74 226 78 238C74 248 76 260 84 268L98 262L102 210Z"
    bib = path("M100 236H164L172 345H92Z", apron_colour)
    return collared(colour, apron_colour) + both(path(frill, apron_colour)) + bib


def bow_blouse(colour: str, bow: str) -> str:
    """A blouse with a big bow at the neck."""
    loop = path("M132 224C116 206 100 210 98 222C98 236 116 240 132 228Z", bow)
    tail = path("M130 226L108 262L122 262L134 234Z", bow)
    return plain(colour) + both(loop, tail) + circle(132, 225, 7, shade(bow, -0.2))


def neckerchief(colour: str) -> str:
    """A scarf knotted at the side of the neck, over whatever is worn."""
    band = path("M102 194C112 214 152 214 162 194L168 208C156 230 108 230 96 208Z", colour)
    return band + path("M152 218L182 232L164 246L148 226Z", shade(colour, -0.15))


def hoodie(colour: str) -> str:
    """A hooded pullover with strings."""
    return part("garment", "hoodie", colour) + rect(32, 278, 200, 70, colour)


def stethoscope() -> str:
    """Tube and chest piece around the neck."""
    tube = stroke("M100 200C98 232 104 256 124 262C150 264 166 244 164 200", "#2b3440", 7)
    return (
        tube
        + stroke("M124 262C124 276 124 282 124 286", "#2b3440", 7)
        + circle(124, 290, 13, "#aab4c0")
        + ring(124, 290, 12, "#2b3440", 4)
    )


def tape_measure() -> str:
    """A tailor's tape around the neck."""
    tape = "M92 203C86 240 88 270 90 318"
    other = "M172 203C178 240 176 270 174 300"
    return stroke(tape, "#ffd23f", 13) + stroke(other, "#ffd23f", 13)
