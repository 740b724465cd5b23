"""Scenes under the sky: forest, beach, city, farm, street. What tells them is drawn at the sides and at the top."""

from __future__ import annotations

import math

from hspace_exp.avatars.brush import SIZE, Brush

_SKIES = (("#8fd0f5", "#d8f1fb"), ("#7cc3f2", "#fbe9d0"), ("#9fd3ee", "#eef6f2"))


def _cloud(b: Brush, x: float, y: float, size: float) -> None:
    for dx, dy, r in ((-1.1, 0.2, 0.7), (0, -0.2, 1.0), (1.1, 0.2, 0.75)):
        b.ellipse(x + dx * size, y + dy * size, r * size, 0.75 * r * size, "#ffffff", opacity=0.85)


def forest(b: Brush) -> None:
    """Trunks before trunks under a roof of leaves."""
    b.rect(0, 0, SIZE, SIZE, b.gradient(b.tint("#b9dc8c", spread=0.03), b.tint("#5f9a4f")))
    for i in range(9):
        x = i * 15 + b.uniform(-4, 4)
        b.rect(x, 10, b.uniform(3, 5), 96, b.tint("#86a866", spread=0.03))
    b.ellipse(64, 122, 90, 24, b.tint("#5d8f45"))
    trunks = [b.uniform(3, 9), b.uniform(17, 27), b.uniform(98, 107), b.uniform(116, 122), b.uniform(42, 86)]
    for x in trunks:
        w, colour = b.uniform(6, 9), b.tint("#7a5a3c", spread=0.03)
        b.poly([(x - w / 2, 0), (x + w / 2, 0), (x + w * 0.65, 116), (x - w * 0.65, 116)], colour)
        b.rect(x - w / 2 + 1, 0, 2, 114, b.tint("#8d6c4a"))
        for _ in range(3):
            b.rect(x - 1, b.uniform(40, 105), 3, 2, b.tint("#684a31"))
    greens = ("#4f8a3f", "#5c9a45", "#6aa84d", "#447c3a", "#7ab556")
    for _ in range(150):
        x = b.uniform(-4, 132)
        reach = 18 + 26 * abs(x / 64 - 1) ** 2
        y, size = b.uniform(-4, reach), b.uniform(3.4, 5.6)
        b.ellipse(x, y, size, size * 0.62, b.tint(b.pick(greens), spread=0.02), turn=b.uniform(-60, 60))
    for _ in range(60):
        x, y = b.uniform(-2, 130), b.uniform(106, 130)
        b.ellipse(x, y, b.uniform(3, 5.5), b.uniform(2, 3.5), b.tint(b.pick(greens), spread=0.02), turn=b.uniform(-40, 40))
    for x in (b.uniform(6, 20), b.uniform(108, 122)):
        if b.chance(0.6):
            y = b.uniform(108, 116)
            b.rect(x - 1.2, y, 2.6, 5, "#f1e4cf")
            b.path(f"M{x - 5:.1f} {y + 1:.1f}a5 5 0 0 1 10 0z", b.tint("#c9503e"))


def beach(b: Brush) -> None:
    """Sea and sand, a palm on one side and a parasol on the other."""
    top, low = b.pick(_SKIES)
    horizon = b.uniform(50, 58)
    b.rect(0, 0, SIZE, 64, b.gradient(b.tint(top), b.tint(low)))
    b.circle(b.uniform(88, 116), b.uniform(14, 24), b.uniform(8, 10), "#ffe38a")
    _cloud(b, b.uniform(40, 74), b.uniform(8, 14), b.uniform(5, 7))
    b.rect(0, horizon, SIZE, 36, b.gradient(b.tint("#2f9fc6"), b.tint("#6fd0d6")))
    for _ in range(7):
        x, y = b.uniform(-6, 120), b.uniform(horizon + 5, 80)
        b.rect(x, y, b.uniform(9, 18), 2, "#a9e4e6", rx=1)
    b.path(f"M0 {b.uniform(82, 86):.1f}C40 {b.uniform(78, 84):.1f} 80 {b.uniform(86, 94):.1f} 128 84V128H0z", "#f4faf4")
    b.path("M0 87C40 84 80 93 128 87V128H0z", b.tint("#f0d695"))
    for _ in range(14):
        b.rect(b.uniform(0, 126), b.uniform(98, 126), 3, 2, b.tint("#e4c67f"), rx=1)
    x, y = b.uniform(108, 118), horizon - 1
    b.poly([(x - 5, y), (x + 6, y), (x + 4, y + 4), (x - 3, y + 4)], "#8a5a3a")
    b.poly([(x, y - 1), (x, y - 14), (x + 7, y - 1)], "#ffffff")
    _palm(b, b.uniform(8, 14))
    x, y = b.uniform(108, 114), b.uniform(80, 86)
    hue = b.pick(("#e4574c", "#f0893b", "#3f7fc0"))
    b.rect(x - 1, y, 2.4, 42, "#f7f2e6")
    b.path(f"M{x - 19:.1f} {y + 8:.1f}a19 17 0 0 1 38 0z", b.tint(hue))
    b.path(f"M{x - 7:.1f} {y + 8:.1f}q1 -13 7 -17q6 4 7 17z", "#fdf6e6")


def _palm(b: Brush, x: float) -> None:
    lean, y = b.uniform(4, 9), b.uniform(22, 28)
    b.curve(f"M{x:.1f} 116Q{x - 2:.1f} 70 {x + lean:.1f} {y:.1f}", b.tint("#9a7048"), 5.5)
    x += lean
    for angle in (-168, -140, -100, -62, -30, 8):
        a = math.radians(angle + b.uniform(-8, 8))
        reach = b.uniform(20, 25)
        tip_x, tip_y = x + reach * math.cos(a), y + 0.6 * reach * math.sin(a) + 9
        up_x, up_y = x + 0.5 * reach * math.cos(a), y + 0.9 * reach * math.sin(a) - 5
        data = f"M{x:.1f} {y:.1f}Q{up_x:.1f} {up_y - 4:.1f} {tip_x:.1f} {tip_y:.1f}Q{up_x:.1f} {up_y + 5:.1f} {x:.1f} {y:.1f}z"
        b.path(data, b.tint("#3f9a52", spread=0.05))
    for dx in (-2, 2):
        b.circle(x + dx, y + 2, 2.2, "#7a5230")


def city(b: Brush) -> None:
    """A skyline by day or at dusk, every tower full of windows."""
    dusk = b.chance(0.5)
    top, low = ("#6d6bb0", "#f2b8a0") if dusk else ("#8fb4e8", "#dfe6f5")
    b.rect(0, 0, SIZE, SIZE, b.gradient(b.tint(top), b.tint(low)))
    far, near = ("#8a83bd", ("#4f5590", "#5b5f9c", "#646aa6")) if dusk else ("#a9b6d8", ("#6d7fae", "#7788b5", "#6277a8"))
    pane = "#f0c97c" if dusk else "#b5c9e8"
    for i in range(10):
        w, h = b.uniform(11, 16), b.uniform(50, 92) + 18 * abs(i / 4.5 - 1)
        _tower(b, i * 13 - 4, SIZE - h, w, b.tint(far, spread=0.015), b.tint(far, light=0.06), 0.8)
    edges = [(-4, 17, 8), (15, 15, 30), (99, 14, 24), (111, 20, 12), (32, 18, 66), (52, 19, 78), (74, 20, 62)]
    for x, w, y in edges:
        x, y, w = x + b.uniform(-2, 2), y + b.uniform(-6, 10), w + b.uniform(-1, 2)
        wall = b.tint(b.pick(near), spread=0.02)
        if b.chance(0.4):
            b.rect(x + w / 2 - 1, y - 9, 2, 10, wall)
        _tower(b, x, y, w, wall, b.tint(pane), 0.62)


def _tower(b: Brush, x: float, y: float, w: float, wall: str, pane: str, share: float) -> None:
    b.rect(x, y, w, SIZE - y, wall)
    columns = max(2, int((w - 2) // 5))
    step = w / columns
    places = [(x + (c + 0.5) * step - 1.3, y + 4 + 6 * r, 2.6, 3.2) for c in range(columns) for r in range(int((122 - y) // 6))]
    b.boxes([place for place in places if b.chance(share)], pane, opacity=0.75)


def farm(b: Brush) -> None:
    """A red barn and a wind pump behind golden rows and a white fence."""
    top, low = b.pick(_SKIES)
    b.rect(0, 0, SIZE, 80, b.gradient(b.tint(top), b.tint(low)))
    _cloud(b, b.uniform(30, 80), b.uniform(8, 15), b.uniform(5, 7))
    b.path("M0 66Q34 46 70 62T128 58V128H0z", b.tint("#9cc56a"))
    b.path("M0 78Q50 64 128 76V128H0z", b.tint("#e2bd55"))
    vanish, row = b.uniform(50, 78), b.tint("#cfa640")
    for i in range(-9, 11):
        b.poly([(vanish + 4 * i, 72), (vanish + 4 * i + 1.5, 72), (vanish + 17 * i + 7, 128), (vanish + 17 * i, 128)], row)
    _barn(b, b.uniform(88, 93), b.uniform(28, 34))
    _wind_pump(b, b.uniform(12, 16), b.uniform(24, 30))
    y = b.uniform(92, 98)
    for x in range(-2, 128, 13):
        b.rect(x, y - 5, 4, 24, "#f6f2e8", rx=1)
    for dy in (0, 8):
        b.rect(0, y + dy, SIZE, 3, "#efe9dc")
    if b.chance(0.7):
        x, r = b.uniform(8, 18), b.uniform(8, 10)
        b.circle(x, 116, r, b.tint("#d9a93f"))
        b.ring(x, 116, r * 0.6, b.tint("#b98a2e"), 2)
        b.circle(x, 116, 2, b.tint("#b98a2e"))


def _barn(b: Brush, x: float, y: float) -> None:
    red, base = b.tint("#b8402f"), 88
    right, shoulder, middle = x + 40, y + 18, x + 20
    b.poly([(x, base), (x, shoulder), (x + 7, y + 6), (middle, y), (right - 7, y + 6), (right, shoulder), (right, base)], red)
    b.line([(x - 2, shoulder + 1), (x + 6, y + 5), (middle, y - 1), (right - 6, y + 5)], b.tint("#6d4a43"), 4)
    b.rect(middle - 5, y + 9, 10, 9, "#f6efe2")
    b.rect(middle - 3, y + 11, 6, 7, b.tint("#5d2b25"))
    b.rect(middle - 11, shoulder + 11, 22, base - shoulder - 11, "#f6efe2")
    b.rect(middle - 9, shoulder + 13, 18, base - shoulder - 13, b.tint("#9d3527"))
    b.line([(middle - 8, shoulder + 14), (middle + 8, base - 1)], "#f6efe2", 2.2)
    b.line([(middle + 8, shoulder + 14), (middle - 8, base - 1)], "#f6efe2", 2.2)


def _wind_pump(b: Brush, x: float, y: float) -> None:
    steel = b.tint("#7d6a5a")
    b.line([(x - 7, 88), (x, y), (x + 7, 88)], steel, 2.2)
    for height in (50, 66, 80):
        half = 7 * (height - y) / (88 - y)
        b.line([(x - half, height), (x + half, height)], steel, 2)
    turn = b.uniform(0, 1)
    for i in range(8):
        a = (i + turn) * math.pi / 4
        b.poly([(x, y), *[(x + 13 * math.cos(a + d), y + 13 * math.sin(a + d)) for d in (-0.24, 0.24)]], "#f4efe6")
    b.circle(x, y, 2.5, b.tint("#b8402f"))


def street(b: Brush) -> None:
    """Terraced houses with awnings, a traffic light on one side and a lamp on the other."""
    top, low = b.pick(_SKIES)
    b.rect(0, 0, SIZE, 40, b.gradient(b.tint(top), b.tint(low)))
    walls = b.shuffled(("#cf7a5c", "#e0a173", "#b9624f", "#d98f86", "#c98a62"))
    x = -b.uniform(2, 10)
    for wall in walls:
        w = b.uniform(30, 35)
        _house(b, x, b.uniform(8, 20), w, b.tint(wall))
        x += w
    b.rect(0, 102, SIZE, 8, b.tint("#cfc8c0"))
    b.rect(0, 110, SIZE, 18, b.tint("#6e6f78"))
    for i in range(8):
        b.poly([(i * 20 - 8, 114), (i * 20 + 3, 114), (i * 20 - 2, 128), (i * 20 - 14, 128)], "#e9e7e2")
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
            b.rect(x + column * w - 5, row, 10, 13, "#f7ede0")
            b.rect(x + column * w - 3.2, row + 2, 6.4, 9, b.tint("#8fb4c9", spread=0.05))
    shop = b.tint(b.pick(("#3f8f86", "#3f6fa8", "#b8453c", "#5c8a45")))
    b.rect(x + 3, 76, w - 6, 26, b.tint("#5b4a4a"))
    b.rect(x + 5, 78, w - 10, 16, b.tint("#c9dfe4"))
    n = 6
    for i in range(n):
        left = x + 1 + i * (w - 2) / n
        b.path(f"M{left:.1f} 66h{(w - 2) / n:.1f}v10a{(w - 2) / n / 2:.1f} 3 0 0 1 {-(w - 2) / n:.1f} 0z", shop if i % 2 else "#faf3e6")
