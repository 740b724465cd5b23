"""Props that are goods, papers or devices: what somebody serves, sells, writes or shows."""

from __future__ import annotations

from avatars_world.shapes import circle, ellipse, group, path, rect, ring, stroke

_STEEL = "#b9c4ce"
_WHITE = "#ffffff"
_RED = "#d7263d"
_GOLD = "#f2b632"
_HEART = "M0 36C-42 8 -44 -30 -20 -32C-8 -32 -2 -24 0 -16C2 -24 8 -32 20 -32C44 -30 42 8 0 36Z"

# A drawing around (0, 0), about 46 units to each side, and where a hand holds it.
GOODS: dict[str, tuple[str, tuple[float, float] | None]] = {
    "tray": (
        path("M-22 -2L-16 -46H12L18 -2Z", "#e8f4fb")
        + path("M-20 -16L-17 -36H13L16 -2H-22Z", "#f08a24")
        + stroke("M2 -26L14 -58", _RED, 6)
        + ellipse(0, 4, 54, 12, "#8d99a6")
        + ellipse(0, 0, 54, 11, "#dfe6ec"),
        (0, 20),
    ),
    "register": (
        rect(-40, -48, 44, 26, "#39424e", 4)
        + rect(-34, -43, 32, 16, "#7ee081", 2)
        + rect(-24, -24, 10, 14, "#39424e")
        + path("M-48 -12H44L52 26H-52Z", "#5b6675")
        + rect(-38, -4, 14, 9, _WHITE, 2)
        + rect(-14, -4, 14, 9, _WHITE, 2)
        + rect(10, -4, 22, 9, _RED, 2)
        + rect(-40, 11, 14, 9, _WHITE, 2)
        + rect(-14, 11, 14, 9, _WHITE, 2)
        + rect(10, 11, 22, 9, "#3fa34d", 2)
        + rect(-54, 26, 108, 26, "#39424e", 4)
        + rect(-12, 34, 24, 8, _GOLD, 3),
        None,
    ),
    "apple": (
        path("M0 -22C-24 -40 -50 -22 -46 8C-42 40 -18 52 0 42C18 52 42 40 46 8C50 -22 24 -40 0 -22Z", _RED)
        + stroke("M0 -24C0 -38 4 -46 12 -50", "#5b3a1e", 7)
        + path("M8 -36C18 -58 38 -56 44 -48C36 -30 20 -28 8 -36Z", "#3fa34d")
        + ellipse(-24, -4, 8, 14, "#f28a94"),
        (0, 46),
    ),
    "coffee": (
        path("M-30 -32H30L22 48H-22Z", _WHITE)
        + path("M-28 -10H28L25 24H-25Z", "#7a4a22")
        + rect(-36, -44, 72, 15, "#7a4a22", 5)
        + path("M-26 -44L-22 -56H22L26 -44Z", "#5b3a1e"),
        (-6, 34),
    ),
    "envelope": (
        rect(-50, -34, 100, 68, "#fff6e0", 5)
        + stroke("M-46 -30L0 8L46 -30", "#c08a3e", 7)
        + circle(0, 6, 12, _RED)
        + stroke("M-46 30L-18 6M46 30L18 6", "#c08a3e", 5),
        (-32, 32),
    ),
    "bell": (
        path("M-44 24C-44 -30 44 -30 44 24Z", _GOLD)
        + path("M-30 18C-30 -4 -18 -14 -8 -16C-18 -4 -20 8 -20 18Z", "#ffe39a")
        + circle(0, -26, 9, "#c98a12")
        + rect(-54, 24, 108, 16, "#5b3a1e", 6),
        None,
    ),
    "folders": (
        group([path("M-40 -40H-12L-4 -30H40V36H-40Z", "#3b82c4")], "rotate(-10)")
        + group([rect(-34, -32, 70, 60, _WHITE, 2)], "rotate(-3)")
        + path("M-44 -22H-14L-6 -12H46V44H-44Z", "#ffc53d")
        + rect(-32, 6, 40, 7, "#b9781f", 2)
        + rect(-32, 22, 26, 7, "#b9781f", 2),
        (-36, 42),
    ),
    "bubble": (
        path(
            "M-50 -46H50C56 -46 58 -42 58 -36V14C58 22 54 24 48 24H2L-26 50L-22 24H-48"
            "C-54 24 -58 22 -58 14V-36C-58 -42 -56 -46 -50 -46Z",
            _WHITE,
        )
        + group([path(_HEART, "#f2557d")], "translate(0 -12) scale(.72)"),
        None,
    ),
    "palette": (
        path(
            "M-8 -48C36 -52 58 -22 54 8C50 36 26 18 14 28C4 38 16 48 -8 48"
            "C-38 46 -56 22 -54 -4C-52 -28 -34 -46 -8 -48Z",
            "#e3b778",
        )
        + circle(-26, -18, 11, _RED)
        + circle(2, -30, 10, "#2f6fdf")
        + circle(30, -14, 11, "#36b24a")
        + circle(-30, 14, 11, "#ffd400")
        + circle(-8, 32, 9, "#8e3fc4"),
        (34, 22),
    ),
    "quill": (
        path("M-34 44C-26 -2 0 -50 44 -62C56 -34 34 6 -8 22C-18 28 -26 36 -34 44Z", "#39b3e6")
        + path("M-34 44C-22 8 8 -30 44 -62C46 -36 22 2 -14 18Z", "#1f6fb5")
        + stroke("M-40 54L-10 14", _WHITE, 6)
        + path("M-64 30H-22L-16 58H-70Z", "#20264f")
        + rect(-56, 22, 26, 9, "#20264f", 2),
        (-12, 18),
    ),
    "bread": (
        group(
            [
                path(
                    "M-60 -4C-60 -26 -40 -28 0 -28C40 -28 60 -26 60 -4C60 18 40 22 0 22C-40 22 -60 18 -60 -4Z",
                    "#d98a33",
                ),
                stroke("M-34 -18L-24 8M-6 -20L4 8M22 -20L32 8", "#f8d79a", 9),
            ],
            "rotate(-28)",
        ),
        (-16, 24),
    ),
    "books": (
        rect(-44, 22, 92, 24, "#b3262e", 4)
        + rect(-36, 28, 84, 12, "#fff3d6")
        + rect(-44, 22, 12, 24, "#7d151c", 3)
        + rect(-36, -4, 84, 24, "#1f7a5c", 4)
        + rect(-28, 2, 76, 12, "#fff3d6")
        + rect(-36, -4, 12, 24, "#0f5640", 3)
        + rect(-46, -30, 84, 24, "#2b5fb3", 4)
        + rect(-38, -24, 76, 12, "#fff3d6")
        + rect(-46, -30, 12, 24, "#173f80", 3),
        (0, 50),
    ),
    "clipboard": (
        rect(-38, -44, 76, 96, "#a8703a", 6)
        + rect(-30, -34, 60, 78, _WHITE, 2)
        + rect(-18, -52, 36, 18, "#6c7a89", 5)
        + stroke("M-18 6L-4 22L20 -14", "#22a447", 11),
        (-36, 30),
    ),
    "laptop": (
        rect(-50, -44, 100, 68, "#39424e", 6)
        + rect(-42, -36, 84, 52, "#0f2d3d")
        + stroke("M-14 -24L-28 -10L-14 4M14 -24L28 -10L14 4", "#54e38e", 7)
        + path("M-62 24H62L54 40H-54Z", _STEEL),
        (-44, 40),
    ),
    "briefcase": (
        ring(0, -28, 17, "#4a2c14", 8)
        + rect(-52, -26, 104, 72, "#8a5427", 8)
        + rect(-52, 2, 104, 9, "#5e3715")
        + rect(-10, -4, 20, 20, _GOLD, 3),
        (0, -44),
    ),
    "shopping_bag": (
        stroke("M-20 -20C-20 -60 20 -60 20 -20", "#7a1747", 8)
        + path("M-40 -26H40L46 50H-46Z", "#ff3d8b")
        + path("M0 36L-24 10C-34 -6 -14 -18 0 -2C14 -18 34 -6 24 10Z", _WHITE),
        (0, -50),
    ),
    "chart": (
        rect(-52, -50, 104, 94, _WHITE, 5)
        + rect(-52, -50, 104, 14, "#39424e", 5)
        + rect(-38, 4, 17, 32, "#2f6fdf")
        + rect(-10, -12, 17, 48, "#22a447")
        + rect(18, -28, 17, 64, "#f08a24"),
        (-46, 40),
    ),
    "trophy": (
        ring(-28, -26, 15, _GOLD, 8)
        + ring(28, -26, 15, _GOLD, 8)
        + path("M-30 -52H30C30 -14 22 6 8 10V24H-8V10C-22 6 -30 -14 -30 -52Z", "#ffc928")
        + path("M-18 -44H-8C-8 -22 -6 -8 -2 0C-14 -8 -18 -24 -18 -44Z", "#fff0b0")
        + rect(-20, 22, 40, 10, "#c98a12", 3)
        + rect(-30, 32, 60, 20, "#5b3a1e", 4),
        (-28, 44),
    ),
}
