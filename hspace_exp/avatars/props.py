"""What people of this world hold: one prop a profession, our own SVG.

A prop is drawn around (0, 0), about 46 units to each side, and put over the person's shoulder at ``PLACE``; long ones
stand upright beside the person. ``prop`` also says where a hand holds it.
"""

from __future__ import annotations

from hspace_exp.avatars.shapes import circle, ellipse, group, path, rect, ring, stroke

PLACE = (204, 250)

_STEEL, _DARK, _WOOD, _WHITE, _RED, _GOLD = "#b9c4ce", "#262c35", "#a86b32", "#ffffff", "#d7263d", "#f2b632"


def prop(name: str) -> tuple[str, tuple[float, float] | None]:
    """The SVG of a prop in the portrait's coordinates, and the centre of the hand that holds it, if one does."""
    drawing, grip = _PROPS[name]
    x, y = PLACE
    return group([drawing], f"translate({x} {y})"), (x + grip[0], y + grip[1]) if grip else None


_HEART = "M0 36C-42 8 -44 -30 -20 -32C-8 -32 -2 -24 0 -16C2 -24 8 -32 20 -32C44 -30 42 8 0 36Z"
_STAR = "M0 -48L13 -17L46 -15L20 6L29 39L0 20L-29 39L-20 6L-46 -15L-13 -17Z"

_PROPS: dict[str, tuple[str, tuple[float, float] | None]] = {
    "tray": (
        path("M-22 -2L-16 -46H12L18 -2Z", "#e8f4fb") + path("M-20 -16L-17 -36H13L16 -2H-22Z", "#f08a24")
        + stroke("M2 -26L14 -58", _RED, 6) + ellipse(0, 4, 54, 12, "#8d99a6") + ellipse(0, 0, 54, 11, "#dfe6ec"),
        (0, 20),
    ),
    "register": (
        rect(-40, -48, 44, 26, "#39424e", 4) + rect(-34, -43, 32, 16, "#7ee081", 2) + rect(-24, -24, 10, 14, "#39424e")
        + path("M-48 -12H44L52 26H-52Z", "#5b6675") + rect(-38, -4, 14, 9, _WHITE, 2) + rect(-14, -4, 14, 9, _WHITE, 2)
        + rect(10, -4, 22, 9, _RED, 2) + rect(-40, 11, 14, 9, _WHITE, 2) + rect(-14, 11, 14, 9, _WHITE, 2)
        + rect(10, 11, 22, 9, "#3fa34d", 2) + rect(-54, 26, 108, 26, "#39424e", 4) + rect(-12, 34, 24, 8, _GOLD, 3),
        None,
    ),
    "apple": (
        path("M0 -22C-24 -40 -50 -22 -46 8C-42 40 -18 52 0 42C18 52 42 40 46 8C50 -22 24 -40 0 -22Z", _RED)
        + stroke("M0 -24C0 -38 4 -46 12 -50", "#5b3a1e", 7) + path("M8 -36C18 -58 38 -56 44 -48C36 -30 20 -28 8 -36Z", "#3fa34d")
        + ellipse(-24, -4, 8, 14, "#f28a94"),
        (0, 46),
    ),
    "syringe": (
        group(
            [rect(-14, -30, 28, 60, "#d8f0fa", 4), rect(-14, -2, 28, 32, "#2fb5c7", 4), rect(-22, -36, 44, 9, "#54708c", 3),
             rect(-4, -58, 8, 26, "#54708c"), rect(-16, -64, 32, 9, "#54708c", 4), rect(-8, 28, 16, 10, "#54708c", 2),
             stroke("M0 38V62", "#7f8c99", 5)],
            "rotate(35)",
        ),
        (20, 16),
    ),
    "coffee": (
        path("M-30 -32H30L22 48H-22Z", _WHITE) + path("M-28 -10H28L25 24H-25Z", "#7a4a22") + rect(-36, -44, 72, 15, "#7a4a22", 5)
        + path("M-26 -44L-22 -56H22L26 -44Z", "#5b3a1e"),
        (-6, 34),
    ),
    "envelope": (
        rect(-50, -34, 100, 68, "#fff6e0", 5) + stroke("M-46 -30L0 8L46 -30", "#c08a3e", 7) + circle(0, 6, 12, _RED)
        + stroke("M-46 30L-18 6M46 30L18 6", "#c08a3e", 5),
        (-32, 32),
    ),
    "spray": (
        path("M-20 -8C-20 -18 -10 -20 -10 -28H14C14 -20 24 -18 24 -8V50H-20Z", "#2f9bff") + rect(-14, 8, 32, 26, _WHITE, 3)
        + rect(-10, -38, 22, 12, _WHITE) + path("M-34 -58H18V-38H-18L-34 -44Z", "#ff5d3b")
        + stroke("M-16 -36C-18 -28 -24 -26 -28 -26", "#ff5d3b", 6) + circle(-46, -56, 5, "#bfe3ff") + circle(-46, -42, 5, "#bfe3ff"),
        (24, 18),
    ),
    "bell": (
        path("M-44 24C-44 -30 44 -30 44 24Z", _GOLD) + path("M-30 18C-30 -4 -18 -14 -8 -16C-18 -4 -20 8 -20 18Z", "#ffe39a")
        + circle(0, -26, 9, "#c98a12") + rect(-54, 24, 108, 16, "#5b3a1e", 6),
        None,
    ),
    "folders": (
        group([path("M-40 -40H-12L-4 -30H40V36H-40Z", "#3b82c4")], "rotate(-10)")
        + group([rect(-34, -32, 70, 60, _WHITE, 2)], "rotate(-3)")
        + path("M-44 -22H-14L-6 -12H46V44H-44Z", "#ffc53d") + rect(-32, 6, 40, 7, "#b9781f", 2) + rect(-32, 22, 26, 7, "#b9781f", 2),
        (-36, 42),
    ),
    "bubble": (
        path("M-50 -46H50C56 -46 58 -42 58 -36V14C58 22 54 24 48 24H2L-26 50L-22 24H-48C-54 24 -58 22 -58 14V-36C-58 -42 -56 -46 -50 -46Z", _WHITE)
        + group([path(_HEART, "#f2557d")], "translate(0 -12) scale(.72)"),
        None,
    ),
    "palette": (
        path("M-8 -48C36 -52 58 -22 54 8C50 36 26 18 14 28C4 38 16 48 -8 48C-38 46 -56 22 -54 -4C-52 -28 -34 -46 -8 -48Z", "#e3b778")
        + circle(-26, -18, 11, _RED) + circle(2, -30, 10, "#2f6fdf") + circle(30, -14, 11, "#36b24a") + circle(-30, 14, 11, "#ffd400")
        + circle(-8, 32, 9, "#8e3fc4"),
        (34, 22),
    ),
    "scissors": (
        stroke("M-20 22L22 -50", _STEEL, 11) + stroke("M20 22L-22 -50", "#e3eaf0", 11) + circle(0, -12, 5, _DARK)
        + ring(-24, 34, 15, "#e6337a", 9) + ring(24, 34, 15, "#e6337a", 9),
        (24, 34),
    ),
    "quill": (
        path("M-34 44C-26 -2 0 -50 44 -62C56 -34 34 6 -8 22C-18 28 -26 36 -34 44Z", "#39b3e6")
        + path("M-34 44C-22 8 8 -30 44 -62C46 -36 22 2 -14 18Z", "#1f6fb5") + stroke("M-40 54L-10 14", _WHITE, 6)
        + path("M-64 30H-22L-16 58H-70Z", "#20264f") + rect(-56, 22, 26, 9, "#20264f", 2),
        (-12, 18),
    ),
    "duster": (
        stroke("M-22 62L4 10", _WOOD, 11)
        + "".join(circle(x, y, r, "#9b5de5") for x, y, r in ((-8, -2, 18), (20, 2, 18), (-12, -28, 20), (16, -26, 24), (34, -24, 16), (10, -48, 19)))
        + "".join(circle(x, y, r, "#c8a2f5") for x, y, r in ((-4, -14, 9), (16, -36, 10), (22, -8, 8))),
        (-16, 48),
    ),
    "bread": (
        group(
            [path("M-60 -4C-60 -26 -40 -28 0 -28C40 -28 60 -26 60 -4C60 18 40 22 0 22C-40 22 -60 18 -60 -4Z", "#d98a33"),
             stroke("M-34 -18L-24 8M-6 -20L4 8M22 -20L32 8", "#f8d79a", 9)],
            "rotate(-28)",
        ),
        (-16, 24),
    ),
    "books": (
        rect(-44, 22, 92, 24, "#b3262e", 4) + rect(-36, 28, 84, 12, "#fff3d6") + rect(-44, 22, 12, 24, "#7d151c", 3)
        + rect(-36, -4, 84, 24, "#1f7a5c", 4) + rect(-28, 2, 76, 12, "#fff3d6") + rect(-36, -4, 12, 24, "#0f5640", 3)
        + rect(-46, -30, 84, 24, "#2b5fb3", 4) + rect(-38, -24, 76, 12, "#fff3d6") + rect(-46, -30, 12, 24, "#173f80", 3),
        (0, 50),
    ),
    "spool": (
        rect(-34, -46, 68, 14, "#c98f4e", 5) + rect(-24, -34, 48, 66, "#e02b6d") + stroke("M-24 -18L24 -24M-24 2L24 -4M-24 22L24 16", "#f78fb3", 5)
        + rect(-34, 30, 68, 14, "#c98f4e", 5) + stroke("M40 -48L58 36", "#e6edf2", 7),
        (0, 48),
    ),
    "wheel": (
        ring(0, 0, 46, "#22262d", 14) + stroke("M-40 -2H40M0 4V42", "#4b535e", 11) + circle(0, 0, 15, "#7e8995") + circle(0, 0, 7, "#22262d"),
        (-42, -14),
    ),
    "clipboard": (
        rect(-38, -44, 76, 96, "#a8703a", 6) + rect(-30, -34, 60, 78, _WHITE, 2) + rect(-18, -52, 36, 18, "#6c7a89", 5)
        + stroke("M-18 6L-4 22L20 -14", "#22a447", 11),
        (-36, 30),
    ),
    "broom": (
        stroke("M18 -190V10", _WOOD, 11) + path("M-4 4H40L58 60H-22Z", "#f0c24b") + path("M-6 0H42L45 14H-9Z", _RED)
        + stroke("M6 24L0 58M18 24V58M30 24L36 58", "#c9962a", 4),
        (18, -62),
    ),
    "pan": (
        group([rect(38, -7, 64, 14, "#2b2b2b", 6)], "rotate(40)") + circle(-4, -6, 46, "#3a3f47") + circle(-4, -6, 37, "#5a616b")
        + path("M-30 -14C-28 -36 2 -38 16 -28C34 -22 30 8 16 16C0 28 -16 16 -24 12C-34 6 -32 -4 -30 -14Z", _WHITE) + circle(-4, -8, 13, "#ffbf1f"),
        (42, 38),
    ),
    "shovel": (
        stroke("M18 -120V0", _WOOD, 12) + path("M-2 -128H38V-112H-2Z", _DARK)
        + path("M-14 -2H50V28C50 48 30 60 18 66C6 60 -14 48 -14 28Z", "#8b98a5") + path("M12 -2H24V34H12Z", "#66727e"),
        (18, -62),
    ),
    "cone": (
        path("M-10 -56H10L36 40H-36Z", "#ff6a13") + path("M-18 -28H18L25 -4H-25Z", _WHITE) + path("M-30 16L30 16L36 40H-36Z", "#ff6a13")
        + rect(-52, 38, 104, 14, "#d94f00", 4),
        None,
    ),
    "laptop": (
        rect(-50, -44, 100, 68, "#39424e", 6) + rect(-42, -36, 84, 52, "#0f2d3d") + stroke("M-14 -24L-28 -10L-14 4M14 -24L28 -10L14 4", "#54e38e", 7)
        + path("M-62 24H62L54 40H-54Z", _STEEL),
        (-44, 40),
    ),
    "saw": (
        group(
            [path("M-66 -16L36 -26V26L30 16L22 26L14 16L6 26L-2 16L-10 26L-18 16L-26 26L-34 16L-42 26L-50 14L-66 14Z", "#d4dce3"),
             path("M32 -30H56C66 -30 70 -20 70 -6V14C70 28 64 34 54 34H32Z", _WOOD), rect(44, -12, 14, 28, "#5b3a1e", 6)],
            "rotate(-40)",
        ),
        (38, -22),
    ),
    "briefcase": (
        ring(0, -28, 17, "#4a2c14", 8) + rect(-52, -26, 104, 72, "#8a5427", 8) + rect(-52, 2, 104, 9, "#5e3715") + rect(-10, -4, 20, 20, _GOLD, 3),
        (0, -44),
    ),
    "scales": (
        stroke("M0 -50V42", _GOLD, 8) + stroke("M-40 -36H40", _GOLD, 8) + circle(0, -50, 8, _GOLD)
        + stroke("M-40 -36L-56 4M-40 -36L-24 4M40 -36L56 4M40 -36L24 4", "#c98a12", 4) + path("M-60 4H-20C-22 24 -58 24 -60 4Z", _GOLD)
        + path("M60 4H20C22 24 58 24 60 4Z", _GOLD) + rect(-26, 40, 52, 12, "#c98a12", 4),
        (0, 26),
    ),
    "pitchfork": (
        stroke("M22 -110V60", _WOOD, 11) + stroke("M-6 -182V-142C-6 -124 50 -124 50 -142V-182M22 -186V-112", "#8b98a5", 9),
        (22, -50),
    ),
    "shopping_bag": (
        stroke("M-20 -20C-20 -60 20 -60 20 -20", "#7a1747", 8) + path("M-40 -26H40L46 50H-46Z", "#ff3d8b")
        + path("M0 36L-24 10C-34 -6 -14 -18 0 -2C14 -18 34 -6 24 10Z", _WHITE),
        (0, -50),
    ),
    "medical_bag": (
        ring(0, -28, 18, "#7d1420", 8) + rect(-50, -26, 100, 72, _RED, 9) + rect(-9, -16, 18, 52, _WHITE) + rect(-26, 1, 52, 18, _WHITE),
        (0, -45),
    ),
    "walkie_talkie": (
        rect(14, -84, 11, 46, _DARK, 4) + rect(-30, -44, 60, 98, _DARK, 8) + rect(-20, -34, 40, 24, "#9fe8a8", 3)
        + stroke("M-18 6H18M-18 20H18M-18 34H18", "#7c8794", 5),
        (-26, 24),
    ),
    "chart": (
        rect(-52, -50, 104, 94, _WHITE, 5) + rect(-52, -50, 104, 14, "#39424e", 5) + rect(-38, 4, 17, 32, "#2f6fdf") + rect(-10, -12, 17, 48, "#22a447")
        + rect(18, -28, 17, 64, "#f08a24"),
        (-46, 40),
    ),
    "wrench": (
        group(
            [rect(-10, -24, 20, 82, "#aab6c1", 9), path("M-28 -62C-34 -40 -24 -22 0 -22C24 -22 34 -40 28 -62L12 -54V-40H-12V-54Z", "#c9d3db"), circle(0, 46, 5, _DARK)],
            "rotate(28)",
        ),
        (-16, 32),
    ),
    "star": (path(_STAR, _GOLD) + group([path(_STAR, "#ffe08a")], "scale(.55)") + circle(0, 0, 8, "#c98a12"), None),
    "trophy": (
        ring(-28, -26, 15, _GOLD, 8) + ring(28, -26, 15, _GOLD, 8) + path("M-30 -52H30C30 -14 22 6 8 10V24H-8V10C-22 6 -30 -14 -30 -52Z", "#ffc928")
        + path("M-18 -44H-8C-8 -22 -6 -8 -2 0C-14 -8 -18 -24 -18 -44Z", "#fff0b0") + rect(-20, 22, 40, 10, "#c98a12", 3) + rect(-30, 32, 60, 20, "#5b3a1e", 4),
        (-28, 44),
    ),
    "heart": (
        group([path(_HEART, "#e5264b"), stroke("M-36 -2H-14L-6 -16L6 14L12 -2H34", _WHITE, 6)], "scale(1.25)"),
        None,
    ),
}  # fmt: skip
