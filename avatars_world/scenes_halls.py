"""Halls: library, garage, stage. What tells them is drawn at the sides and at the top."""

from __future__ import annotations

from avatars_world.brush import SIZE, Brush


def library(b: Brush) -> None:
    """Shelves full of books from wall to wall, and a ladder."""
    b.rect(0, 0, SIZE, SIZE, b.tint("#6b4a33"))
    colours = ("#9a5a48", "#a8764a", "#7a7f5a", "#6f7f86", "#b08a5a", "#8a5f6a", "#93694a", "#5f7a74")
    pitch, first = b.uniform(24, 27), b.uniform(-14, -4)
    for shelf in range(6):
        floor, x = first + (shelf + 1) * pitch, b.uniform(-3, 0)
        while x < SIZE:
            w = b.uniform(4.2, 7.6)
            h = b.uniform(pitch * 0.68, pitch * 0.84)
            if b.chance(0.05):
                x += w
                continue
            spine = b.tint(b.pick(colours), spread=0.03)
            b.rect(x, floor - h, w - 0.4, h, spine)
            if w > 6:
                b.rect(x + 0.6, floor - h + 4, w - 1.6, 2.4, b.tint("#d9bd84"), opacity=0.6)
            x += w
        b.rect(0, floor, SIZE, 3.2, b.tint("#a87a4f"))
    posts = (b.uniform(20, 30), b.uniform(98, 108))
    for x in posts:
        b.rect(x - 2, 0, 4.4, SIZE, b.tint("#9a6e46"))
    if b.chance(0.75):
        foot, top = b.uniform(106, 112), b.uniform(100, 104)
        rail = b.tint("#d9a45f")
        for y in range(18, 126, 14):
            x = foot + (top - foot) * (126 - y) / 120
            b.line([(x, y), (x + 13, y)], rail, 2.4)
        b.line([(foot, 128), (top, 4)], rail, 3)
        b.line([(foot + 13, 128), (top + 13, 4)], rail, 3)


def garage(b: Brush) -> None:
    """Concrete and a rolling door, tools on a board, tyres, a red tool chest and hazard stripes."""
    b.rect(0, 0, SIZE, SIZE, b.tint("#8f969c"))
    b.rect(30, 12, 66, 96, b.tint("#b3bac0"))
    b.boxes([(30, y, 66, 2.4) for y in range(16, 106, 8)], b.tint("#9fa7ae"))
    b.rect(0, 106, SIZE, 22, b.tint("#5d6369"))
    b.rect(0, 0, SIZE, 10, b.tint("#f2b632"))
    offset = b.uniform(0, 16)
    for i in range(-1, 9):
        left = i * 16 + offset
        b.poly([(left, 10), (left + 8, 10), (left + 14, 0), (left + 6, 0)], b.tint("#3b3f45"))
    b.rect(-2, 16, 29, 52, b.tint("#d98c45"))
    b.rect(0, 18, 25, 48, b.tint("#e6a15c"))
    _tools(b)
    b.rect(-2, 76, 28, 44, b.tint("#c2392f"), rx=2)
    for drawer in (80, 90, 100, 110):
        b.rect(1, drawer, 22, 7, b.tint("#d6584a"), rx=1)
        b.rect(8, drawer + 2, 8, 2.4, b.tint("#e9e4de"), rx=1)
    b.boxes([(2, 118, 5, 6), (18, 118, 5, 6)], b.tint("#33373c"))
    x = b.uniform(110, 115)
    n = b.pick((3, 4, 4))
    for i in range(n):
        tyre, dx = 118 - 12 * i, b.uniform(-2, 2)
        b.rect(x + dx - 16, tyre - 6, 32, 12, b.tint("#33373c"), rx=5)
        b.boxes([(x + dx - 12 + 6 * j, tyre - 5, 2.4, 10) for j in range(5)], b.tint("#4a4f56"))
    x, y = b.uniform(108, 114), b.uniform(28, 36)
    b.rect(x - 1, 10, 2.4, y - 10, b.tint("#3b3f45"))
    b.path(f"M{x - 12:.1f} {y + 4:.1f}a12 11 0 0 1 24 0z", b.tint("#3f7f6b"))
    b.ellipse(x, y + 5, 6, 3, "#fff0b0")


def _tools(b: Brush) -> None:
    steel, grip = b.tint("#5b636b"), b.tint("#3f67a3")
    first, second = b.shuffled((6.5, 18.5))
    b.rect(first - 1.5, 27, 3.4, 22, steel)
    b.circle(first, 25, 4.4, steel)
    b.rect(first - 1.6, 19, 3.4, 6, b.tint("#e6a15c"))
    b.rect(second - 1.5, 30, 3.4, 20, b.tint("#8a5a34"))
    b.rect(second - 5.5, 23, 11, 7, steel, rx=1)
    for x in (6.5, 18.5):
        b.rect(x - 1.2, 53, 2.6, 4, steel)
        b.rect(x - 2.2, 56, 4.6, 8, grip if b.chance(0.5) else b.tint("#b8322a"), rx=1.5)


def stage(b: Brush) -> None:
    """Red curtains and a gold-trimmed valance, beams of light and a wooden floor."""
    b.rect(0, 0, SIZE, SIZE, b.gradient(b.tint("#2d2350"), b.tint("#5a3f78")))
    for lamp, reach in ((40, b.uniform(10, 40)), (88, b.uniform(60, 110))):
        b.poly([(lamp - 3, 12), (lamp + 3, 12), (reach + 24, 112), (reach - 20, 112)], "#fff3b8", opacity=0.22)
    b.rect(0, 108, SIZE, 20, b.tint("#a8703f"))
    b.boxes([(0, y, SIZE, 2) for y in (112, 119, 126)], b.tint("#8f5c32"))
    b.ellipse(64, 114, 46, 8, "#ffe9b0", opacity=0.35)
    red = b.pick(("#b0202e", "#a81f38", "#b8302a"))
    for side in (0, 1):
        width = b.uniform(29, 36)
        folds = 5
        w = width / folds
        for i in range(folds):
            x = i * w if side == 0 else SIZE - (i + 1) * w
            sway = b.uniform(-2, 2)
            b.path(
                f"M{x:.1f} 0h{w + 0.6:.1f}V{114 + sway:.1f}h{-w - 0.6:.1f}z",
                b.tint(red, light=0.06 if i % 2 else -0.03),
            )
        b.rect(0 if side == 0 else SIZE - width, b.uniform(66, 74), width, 4, b.tint("#e8b84a"), rx=2)
    n = b.pick((4, 5, 6))
    w = SIZE / n
    for i in range(n):
        b.path(f"M{i * w:.1f} 0h{w:.1f}v10a{w / 2:.1f} 9 0 0 1 {-w:.1f} 0z", b.tint("#e8b84a"))
        b.path(f"M{i * w:.1f} 0h{w:.1f}v7a{w / 2:.1f} 9 0 0 1 {-w:.1f} 0z", b.tint(red, light=0.02 + 0.04 * (i % 2)))
    for i in range(8):
        b.circle(8 + i * 16, 124, 3, "#ffe9a6")
