"""Props that are tools or signs of an office: what somebody works with or is known by."""

from __future__ import annotations

from avatars_world.shapes import circle, group, path, rect, ring, stroke

_STEEL = "#b9c4ce"
_DARK = "#262c35"
_WOOD = "#a86b32"
_WHITE = "#ffffff"
_RED = "#d7263d"
_GOLD = "#f2b632"
_HEART = "M0 36C-42 8 -44 -30 -20 -32C-8 -32 -2 -24 0 -16C2 -24 8 -32 20 -32C44 -30 42 8 0 36Z"
_STAR = "M0 -48L13 -17L46 -15L20 6L29 39L0 20L-29 39L-20 6L-46 -15L-13 -17Z"

# A drawing around (0, 0), about 46 units to each side, and where a hand holds it.
TOOLS: dict[str, tuple[str, tuple[float, float] | None]] = {
    "syringe": (
        group(
            [
                rect(-14, -30, 28, 60, "#d8f0fa", 4),
                rect(-14, -2, 28, 32, "#2fb5c7", 4),
                rect(-22, -36, 44, 9, "#54708c", 3),
                rect(-4, -58, 8, 26, "#54708c"),
                rect(-16, -64, 32, 9, "#54708c", 4),
                rect(-8, 28, 16, 10, "#54708c", 2),
                stroke("M0 38V62", "#7f8c99", 5),
            ],
            "rotate(35)",
        ),
        (20, 16),
    ),
    "spray": (
        path("M-20 -8C-20 -18 -10 -20 -10 -28H14C14 -20 24 -18 24 -8V50H-20Z", "#2f9bff")
        + rect(-14, 8, 32, 26, _WHITE, 3)
        + rect(-10, -38, 22, 12, _WHITE)
        + path("M-34 -58H18V-38H-18L-34 -44Z", "#ff5d3b")
        + stroke("M-16 -36C-18 -28 -24 -26 -28 -26", "#ff5d3b", 6)
        + circle(-46, -56, 5, "#bfe3ff")
        + circle(-46, -42, 5, "#bfe3ff"),
        (24, 18),
    ),
    "scissors": (
        stroke("M-20 22L22 -50", _STEEL, 11)
        + stroke("M20 22L-22 -50", "#e3eaf0", 11)
        + circle(0, -12, 5, _DARK)
        + ring(-24, 34, 15, "#e6337a", 9)
        + ring(24, 34, 15, "#e6337a", 9),
        (24, 34),
    ),
    "duster": (
        stroke("M-22 62L4 10", _WOOD, 11)
        + "".join(
            circle(x, y, r, "#9b5de5")
            for x, y, r in ((-8, -2, 18), (20, 2, 18), (-12, -28, 20), (16, -26, 24), (34, -24, 16), (10, -48, 19))
        )
        + "".join(circle(x, y, r, "#c8a2f5") for x, y, r in ((-4, -14, 9), (16, -36, 10), (22, -8, 8))),
        (-16, 48),
    ),
    "spool": (
        rect(-34, -46, 68, 14, "#c98f4e", 5)
        + rect(-24, -34, 48, 66, "#e02b6d")
        + stroke("M-24 -18L24 -24M-24 2L24 -4M-24 22L24 16", "#f78fb3", 5)
        + rect(-34, 30, 68, 14, "#c98f4e", 5)
        + stroke("M40 -48L58 36", "#e6edf2", 7),
        (0, 48),
    ),
    "wheel": (
        ring(0, 0, 46, "#22262d", 14)
        + stroke("M-40 -2H40M0 4V42", "#4b535e", 11)
        + circle(0, 0, 15, "#7e8995")
        + circle(0, 0, 7, "#22262d"),
        (-42, -14),
    ),
    "broom": (
        stroke("M18 -190V10", _WOOD, 11)
        + path("M-4 4H40L58 60H-22Z", "#f0c24b")
        + path("M-6 0H42L45 14H-9Z", _RED)
        + stroke("M6 24L0 58M18 24V58M30 24L36 58", "#c9962a", 4),
        (18, -62),
    ),
    "pan": (
        group([rect(38, -7, 64, 14, "#2b2b2b", 6)], "rotate(40)")
        + circle(-4, -6, 46, "#3a3f47")
        + circle(-4, -6, 37, "#5a616b")
        + path("M-30 -14C-28 -36 2 -38 16 -28C34 -22 30 8 16 16C0 28 -16 16 -24 12C-34 6 -32 -4 -30 -14Z", _WHITE)
        + circle(-4, -8, 13, "#ffbf1f"),
        (42, 38),
    ),
    "shovel": (
        stroke("M18 -120V0", _WOOD, 12)
        + path("M-2 -128H38V-112H-2Z", _DARK)
        + path("M-14 -2H50V28C50 48 30 60 18 66C6 60 -14 48 -14 28Z", "#8b98a5")
        + path("M12 -2H24V34H12Z", "#66727e"),
        (18, -62),
    ),
    "cone": (
        path("M-10 -56H10L36 40H-36Z", "#ff6a13")
        + path("M-18 -28H18L25 -4H-25Z", _WHITE)
        + path("M-30 16L30 16L36 40H-36Z", "#ff6a13")
        + rect(-52, 38, 104, 14, "#d94f00", 4),
        None,
    ),
    "saw": (
        group(
            [
                path(
                    "M-66 -16L36 -26V26L30 16L22 26L14 16L6 26L-2 16L-10 26L-18 16L-26 26L-34 16L-42 26L-50 14L-66 14Z",
                    "#d4dce3",
                ),
                path("M32 -30H56C66 -30 70 -20 70 -6V14C70 28 64 34 54 34H32Z", _WOOD),
                rect(44, -12, 14, 28, "#5b3a1e", 6),
            ],
            "rotate(-40)",
        ),
        (38, -22),
    ),
    "scales": (
        stroke("M0 -50V42", _GOLD, 8)
        + stroke("M-40 -36H40", _GOLD, 8)
        + circle(0, -50, 8, _GOLD)
        + stroke("M-40 -36L-56 4M-40 -36L-24 4M40 -36L56 4M40 -36L24 4", "#c98a12", 4)
        + path("M-60 4H-20C-22 24 -58 24 -60 4Z", _GOLD)
        + path("M60 4H20C22 24 58 24 60 4Z", _GOLD)
        + rect(-26, 40, 52, 12, "#c98a12", 4),
        (0, 26),
    ),
    "pitchfork": (
        stroke("M22 -110V60", _WOOD, 11)
        + stroke("M-6 -182V-142C-6 -124 50 -124 50 -142V-182M22 -186V-112", "#8b98a5", 9),
        (22, -50),
    ),
    "medical_bag": (
        ring(0, -28, 18, "#7d1420", 8)
        + rect(-50, -26, 100, 72, _RED, 9)
        + rect(-9, -16, 18, 52, _WHITE)
        + rect(-26, 1, 52, 18, _WHITE),
        (0, -45),
    ),
    "walkie_talkie": (
        rect(14, -84, 11, 46, _DARK, 4)
        + rect(-30, -44, 60, 98, _DARK, 8)
        + rect(-20, -34, 40, 24, "#9fe8a8", 3)
        + stroke("M-18 6H18M-18 20H18M-18 34H18", "#7c8794", 5),
        (-26, 24),
    ),
    "wrench": (
        group(
            [
                rect(-10, -24, 20, 82, "#aab6c1", 9),
                path("M-28 -62C-34 -40 -24 -22 0 -22C24 -22 34 -40 28 -62L12 -54V-40H-12V-54Z", "#c9d3db"),
                circle(0, 46, 5, _DARK),
            ],
            "rotate(28)",
        ),
        (-16, 32),
    ),
    "star": (path(_STAR, _GOLD) + group([path(_STAR, "#ffe08a")], "scale(.55)") + circle(0, 0, 8, "#c98a12"), None),
    "heart": (
        group([path(_HEART, "#e5264b"), stroke("M-36 -2H-14L-6 -16L6 14L12 -2H34", _WHITE, 6)], "scale(1.25)"),
        None,
    ),
}
