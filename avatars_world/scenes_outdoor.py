"""Scenes in the open: forest, beach, farm. What tells them is drawn at the sides and at the top."""

from __future__ import annotations

import math

from avatars_world.brush import SIZE, Brush

SKIES = (("#8fd0f5", "#d8f1fb"), ("#7cc3f2", "#fbe9d0"), ("#9fd3ee", "#eef6f2"))


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
        b.ellipse(
            x, y, b.uniform(3, 5.5), b.uniform(2, 3.5), b.tint(b.pick(greens), spread=0.02), turn=b.uniform(-40, 40)
        )
    for x in (b.uniform(6, 20), b.uniform(108, 122)):
        if b.chance(0.6):
            y = b.uniform(108, 116)
            b.rect(x - 1.2, y, 2.6, 5, "#f1e4cf")
            b.path(f"M{x - 5:.1f} {y + 1:.1f}a5 5 0 0 1 10 0z", b.tint("#c9503e"))


def beach(b: Brush) -> None:
    """Sea and sand, a palm on one side and a parasol on the other."""
    top, low = b.pick(SKIES)
    horizon = b.uniform(50, 58)
    b.rect(0, 0, SIZE, 64, b.gradient(b.tint(top), b.tint(low)))
    b.circle(b.uniform(88, 116), b.uniform(14, 24), b.uniform(8, 10), "#ffe38a")
    _cloud(b, b.uniform(40, 74), b.uniform(8, 14), b.uniform(5, 7))
    b.rect(0, horizon, SIZE, 46, b.gradient(b.tint("#2f9fc6"), b.tint("#6fd0d6")))
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
        out = f"Q{up_x:.1f} {up_y - 4:.1f} {tip_x:.1f} {tip_y:.1f}"
        back = f"Q{up_x:.1f} {up_y + 5:.1f} {x:.1f} {y:.1f}z"
        b.path(f"M{x:.1f} {y:.1f}{out}{back}", b.tint("#3f9a52", spread=0.05))
    for dx in (-2, 2):
        b.circle(x + dx, y + 2, 2.2, "#7a5230")


def farm(b: Brush) -> None:
    """A red barn and a wind pump behind golden rows and a white fence."""
    top, low = b.pick(SKIES)
    b.rect(0, 0, SIZE, 80, b.gradient(b.tint(top), b.tint(low)))
    _cloud(b, b.uniform(30, 80), b.uniform(8, 15), b.uniform(5, 7))
    b.path("M0 66Q34 46 70 62T128 58V128H0z", b.tint("#9cc56a"))
    b.path("M0 78Q50 64 128 76V128H0z", b.tint("#e2bd55"))
    vanish, row = b.uniform(50, 78), b.tint("#d6b04b")
    for i in range(-9, 11):
        b.poly(
            [(vanish + 4 * i, 72), (vanish + 4 * i + 1.5, 72), (vanish + 17 * i + 7, 128), (vanish + 17 * i, 128)], row
        )
    _barn(b, b.uniform(88, 93), b.uniform(28, 34))
    _wind_pump(b, b.uniform(12, 16), b.uniform(24, 30))
    y = b.uniform(92, 98)
    for post in range(-2, 128, 16):
        b.rect(post, y - 5, 4, 24, "#f6f2e8", rx=1)
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
    b.poly(
        [(x, base), (x, shoulder), (x + 7, y + 6), (middle, y), (right - 7, y + 6), (right, shoulder), (right, base)],
        red,
    )
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
