"""Scenes in town: city, street. What tells them is drawn at the sides and at the top."""

from __future__ import annotations

from avatars_world.brush import SIZE, Brush
from avatars_world.scenes_outdoor import SKIES


def city(b: Brush) -> None:
    """A skyline by day or at dusk, every tower full of windows."""
    dusk = b.chance(0.5)
    top, low = ("#6d6bb0", "#f2b8a0") if dusk else ("#8fb4e8", "#dfe6f5")
    b.rect(0, 0, SIZE, SIZE, b.gradient(b.tint(top), b.tint(low)))
    far, near = (
        ("#8a83bd", ("#4f5590", "#5b5f9c", "#646aa6")) if dusk else ("#a9b6d8", ("#6d7fae", "#7788b5", "#6277a8"))
    )
    pane = "#f0c97c" if dusk else "#b5c9e8"
    for i in range(10):
        w, h = b.uniform(11, 16), b.uniform(50, 92) + 18 * abs(i / 4.5 - 1)
        _tower(b, i * 13 - 4, SIZE - h, w, b.tint(far, spread=0.015), b.tint(far, light=0.06), 0.8)
    edges = [(-4, 17, 8), (15, 15, 30), (99, 14, 24), (111, 20, 12), (32, 18, 66), (52, 19, 78), (74, 20, 62)]
    for left, width, top_edge in edges:
        x, y, w = left + b.uniform(-2, 2), top_edge + b.uniform(-6, 10), width + b.uniform(-1, 2)
        wall = b.tint(b.pick(near), spread=0.02)
        if b.chance(0.4):
            b.rect(x + w / 2 - 1, y - 9, 2, 10, wall)
        _tower(b, x, y, w, wall, b.tint(pane), 0.62)


def _tower(b: Brush, x: float, y: float, w: float, wall: str, pane: str, share: float) -> None:
    b.rect(x, y, w, SIZE - y, wall)
    columns = max(2, int((w - 2) // 5))
    step = w / columns
    places = [
        (x + (c + 0.5) * step - 1.3, y + 4 + 6 * r, 2.6, 3.2)
        for c in range(columns)
        for r in range(int((122 - y) // 6))
    ]
    b.boxes([place for place in places if b.chance(share)], pane, opacity=0.75)


def street(b: Brush) -> None:
    """Terraced houses with awnings, a traffic light on one side and a lamp on the other."""
    top, low = b.pick(SKIES)
    b.rect(0, 0, SIZE, SIZE, b.tint("#b9624f"))
    b.rect(0, 0, SIZE, 40, b.gradient(b.tint(top), b.tint(low)))
    walls = b.shuffled(("#cf7a5c", "#e0a173", "#b9624f", "#d98f86", "#c98a62"))
    x = -b.uniform(2, 10)
    for wall in walls:
        w = b.uniform(30, 35)
        _house(b, x, b.uniform(8, 20), w, b.tint(wall))
        x += w
    b.rect(0, 102, SIZE, 8, b.tint("#cfc8c0"))
    b.rect(0, 110, SIZE, 18, b.tint("#7d7e86"))
    for i in range(8):
        b.poly([(i * 20 - 8, 114), (i * 20 + 3, 114), (i * 20 - 2, 128), (i * 20 - 14, 128)], b.tint("#c3c1bf"))
    x, y = b.uniform(9, 14), b.uniform(22, 32)
    b.rect(x - 1.5, y, 3, 106 - y, b.tint("#3d4148"))
    b.rect(x - 6, y, 12, 31, b.tint("#3d4148"), rx=3)
    lit = b.pick((0, 1, 2))
    for i, colour in enumerate(("#f0493e", "#f7c23c", "#4fc567")):
        b.circle(x, y + 6 + 9.5 * i, 3.4, colour, opacity=1 if i == lit else 0.55)
    x, y = b.uniform(112, 118), b.uniform(18, 26)
    b.curve(f"M{x:.1f} 106V{y:.1f}q0 -6 -7 -6h-4", b.tint("#3d4148"), 2.6)
    b.path(f"M{x - 16:.1f} {y:.1f}a5 6 0 0 1 10 0z", b.tint("#3d4148"))
    b.ellipse(x - 11, y + 1, 3.5, 2.2, "#ffe9a6")


def _house(b: Brush, x: float, y: float, w: float, wall: str) -> None:
    b.rect(x, y, w, 104 - y, wall)
    b.rect(x - 1, y, w + 2, 4, b.tint("#7d4a3d"))
    for row in (y + 10, y + 30):
        for column in (0.27, 0.73):
            b.rect(x + column * w - 5, row, 10, 14, b.tint("#ecd5bd"))
            b.rect(x + column * w - 3, row + 2, 6, 10, b.tint("#9fb9c6", spread=0.04))
    shop = b.tint(b.pick(("#3f8f86", "#3f6fa8", "#b8453c", "#5c8a45")))
    b.rect(x + 3, 76, w - 6, 26, b.tint("#5b4a4a"))
    b.rect(x + 5, 78, w - 10, 16, b.tint("#c9dfe4"))
    n = 4
    for i in range(n):
        left = x + 1 + i * (w - 2) / n
        b.path(
            f"M{left:.1f} 66h{(w - 2) / n:.1f}v10a{(w - 2) / n / 2:.1f} 3 0 0 1 {-(w - 2) / n:.1f} 0z",
            shop if i % 2 else "#f3e6d6",
        )
