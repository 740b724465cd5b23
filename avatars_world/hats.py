"""What people of this world wear on their heads; hair stays visible at the sides, so that a hat never hides gender.

The skull spans x = 76 to 188 from y = 36, ears begin at y = 98. Hair above ``BRIM`` is cut away under a hat that covers
the crown.
"""

from __future__ import annotations

from avatars_world.shapes import both, circle, ellipse, path, rect, ring, shade, stroke

BRIM = 66
CROWN_COVERING = (
    "hard_hat",
    "toque",
    "baker_cap",
    "peaked_cap",
    "baseball_cap",
    "cowboy_hat",
    "straw_hat",
    "surgical_cap",
    "flat_cap",
    "bandana",
    "beanie",
)


def hat(name: str, colour: str) -> str:
    """The SVG of a hat in its main colour."""
    return _HATS[name](colour)


def _dome(top: float, low: float = 78) -> str:
    return f"M70 {low}C68 {top + 14} 96 {top} 132 {top}C168 {top} 196 {top + 14} 194 {low}Z"


def _hard_hat(colour: str) -> str:
    shell = path(_dome(18, 74), colour) + path("M118 16H146L150 70H114Z", shade(colour, 0.35))
    return shell + path("M58 70C84 62 180 62 206 70L208 82C180 76 84 76 56 82Z", shade(colour, -0.15))


def _toque(colour: str) -> str:
    puff = path("M84 54C58 48 56 18 84 16C92 3 116 4 132 9C148 4 172 3 180 16C208 18 206 48 180 54Z", colour)
    folds = both(stroke("M108 22L112 48", "#8fa3b5", 4, 0.45))
    return puff + folds + path("M78 44C110 52 154 52 186 44V76C154 68 110 68 78 76Z", shade(colour, -0.12))


def _baker_cap(colour: str) -> str:
    puff = path("M72 62C52 40 84 18 132 18C180 18 212 40 192 62Z", colour)
    return puff + path("M74 56C110 64 154 64 190 56V76C154 68 110 68 74 76Z", shade(colour, -0.3))


def _peaked_cap(colour: str) -> str:
    crown = path("M60 46C66 20 198 20 204 46L190 62H74Z", colour)
    band = path("M74 56H190V76H74Z", shade(colour, -0.35))
    return (
        crown
        + band
        + path("M72 74C100 66 164 66 192 74C176 92 88 92 72 74Z", "#15181d")
        + circle(132, 50, 11, "#f2c14e")
    )


def _baseball_cap(colour: str) -> str:
    crown = path(_dome(20, 76), colour)
    return crown + path("M70 76C100 64 164 64 194 76C206 92 182 90 132 86C82 90 58 92 70 76Z", shade(colour, -0.28))


def _cowboy_hat(colour: str) -> str:
    crown = path("M84 70C82 34 92 10 112 14C126 18 138 18 152 14C172 10 182 34 180 70Z", colour)
    band = path("M82 54C110 62 154 62 182 54L182 70H82Z", shade(colour, -0.5))
    return (
        crown + band + path("M30 48C46 84 218 84 234 48C240 74 204 86 132 86C60 86 24 74 30 48Z", shade(colour, -0.15))
    )


def _straw_hat(colour: str) -> str:
    brim = ellipse(132, 70, 108, 17, shade(colour, -0.12))
    return (
        brim
        + path("M82 68C80 30 98 14 132 14C166 14 184 30 182 68Z", colour)
        + path("M82 52C110 60 154 60 182 52V70C154 76 110 76 82 70Z", "#b5402f")
    )


def _surgical_cap(colour: str) -> str:
    return path(_dome(20, 76), colour) + path(
        "M70 66C110 56 154 56 194 66V80C154 70 110 70 70 80Z", shade(colour, -0.2)
    )


def _flat_cap(colour: str) -> str:
    top = path("M66 68C62 34 100 22 140 22C180 22 204 44 196 68Z", colour)
    return top + path("M68 66C100 54 168 54 198 64C206 84 180 82 132 78C92 80 64 84 68 66Z", shade(colour, -0.35))


def _bandana(colour: str) -> str:
    cloth = path(_dome(24, 76), colour)
    knot = path("M132 34C120 10 98 12 106 26L128 42L136 42L158 26C166 12 144 10 132 34Z", shade(colour, -0.2))
    return cloth + knot + path("M70 64C110 54 154 54 194 64V78C154 68 110 68 70 78Z", shade(colour, -0.2))


def _beanie(colour: str) -> str:
    return path(_dome(16, 70), colour) + path(
        "M70 58C110 50 154 50 194 58V80C154 72 110 72 70 80Z", shade(colour, -0.25)
    )


def _nurse_cap(colour: str) -> str:
    cap = path("M86 44L80 14C110 6 154 6 184 14L178 44C154 36 110 36 86 44Z", colour)
    return cap + rect(126, 13, 12, 25, "#d7263d") + rect(119, 19.5, 26, 12, "#d7263d")


def _pillbox(colour: str) -> str:
    box = path("M96 42L92 14C112 6 152 6 172 14L168 42C148 34 116 34 96 42Z", colour)
    return box + path("M95 34C116 26 148 26 169 34L168 44C148 36 116 36 96 44Z", "#f2c14e")


def _beret(colour: str) -> str:
    return path("M70 56C56 22 118 6 172 18C212 28 208 52 186 60C150 42 108 42 70 56Z", colour) + rect(
        134, 6, 8, 14, colour, 4
    )


def _headband(colour: str) -> str:
    return path("M82 60C84 24 180 24 182 60L172 58C166 38 98 38 92 58Z", colour) + path(
        "M96 36C96 22 108 24 112 20C116 10 128 14 132 10C136 14 148 10 152 20"
        "C156 24 168 22 168 36C148 26 116 26 96 36Z",
        colour,
    )


def _head_mirror(colour: str) -> str:
    band = stroke("M80 66C100 50 164 50 184 66", "#39424e", 9)
    return band + circle(132, 48, 19, colour) + ring(132, 48, 18, "#6c7a89", 5) + circle(132, 48, 5, "#39424e")


def _visor(colour: str) -> str:
    return path("M76 66C100 48 164 48 188 66L186 54C164 38 100 38 78 54Z", shade(colour, -0.3)) + path(
        "M74 62C100 48 164 48 190 62C204 82 176 82 132 76C88 82 60 82 74 62Z", colour
    )


def _headset(colour: str) -> str:
    band = stroke("M72 112C66 2 198 2 192 112", colour, 9)
    cup = rect(60, 98, 22, 36, colour, 9)
    return band + both(cup) + stroke("M72 128C74 160 92 164 108 162", colour, 6) + ellipse(112, 162, 9, 7, colour)


def _headphones(colour: str) -> str:
    band = stroke("M72 112C66 0 198 0 192 112", colour, 13)
    return band + both(rect(56, 94, 28, 44, colour, 12), rect(62, 102, 9, 28, shade(colour, 0.45), 4))


def _pencil(colour: str) -> str:
    return stroke("M176 84L214 66", colour, 10) + stroke("M176 84L170 87", "#2b2b2b", 7)


_HATS = {
    "hard_hat": _hard_hat,
    "toque": _toque,
    "baker_cap": _baker_cap,
    "peaked_cap": _peaked_cap,
    "baseball_cap": _baseball_cap,
    "cowboy_hat": _cowboy_hat,
    "straw_hat": _straw_hat,
    "surgical_cap": _surgical_cap,
    "flat_cap": _flat_cap,
    "bandana": _bandana,
    "beanie": _beanie,
    "nurse_cap": _nurse_cap,
    "pillbox": _pillbox,
    "beret": _beret,
    "headband": _headband,
    "head_mirror": _head_mirror,
    "visor": _visor,
    "headset": _headset,
    "headphones": _headphones,
    "pencil": _pencil,
}
