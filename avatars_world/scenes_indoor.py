"""Rooms: hospital, kitchen, office, classroom. What tells them is drawn at the sides and at the top."""

from __future__ import annotations

from avatars_world.brush import SIZE, Brush


def hospital(b: Brush) -> None:
    """Mint walls, a red cross, a drip, a heart monitor and a curtain."""
    b.rect(0, 0, SIZE, SIZE, b.tint("#d5efe9"))
    b.rect(0, 82, SIZE, 24, b.tint("#a6d9d0"))
    b.rect(0, 80, SIZE, 3, b.tint("#86c4bb"))
    b.rect(0, 106, SIZE, 22, b.tint("#dfe6e8"))
    b.rect(0, 104, SIZE, 3, "#f7fbfb")
    for x in (b.uniform(26, 34), b.uniform(66, 76)):
        b.rect(x, 0, 26, 5, "#ffffff", rx=2)
    blue = b.tint("#8cc8dc")
    width = b.uniform(18, 24)
    b.rect(0, 8, width, 112, blue)
    b.boxes([(i, 8, 3, 112) for i in (3, 10, 17) if i < width - 3], b.tint("#a3d5e5"))
    b.rect(0, 6, width + 6, 3, b.tint("#9aa7ad"))
    x, y = width + b.uniform(6, 9), b.uniform(14, 20)
    b.rect(x - 1, y, 2.4, 112 - y, b.tint("#9aa7ad"))
    b.rect(x - 6, y, 13, 2.4, b.tint("#9aa7ad"))
    b.rect(x - 7, y + 4, 9, 15, "#f6fbff", rx=3)
    b.rect(x - 7, y + 11, 9, 8, b.tint("#f0a9a0") if b.chance(0.4) else b.tint("#9fd0ef"), rx=3)
    x, y, size = b.uniform(101, 105), b.uniform(9, 14), b.uniform(20, 22)
    b.rect(x, y, size, size, "#ffffff", rx=4)
    arm = size / 4
    b.boxes([(x + 1.5 * arm, y + 3, arm, size - 6), (x + 3, y + 1.5 * arm, size - 6, arm)], "#e0453f")
    x, y = b.uniform(99, 102), b.uniform(46, 52)
    b.rect(x + 10, y + 18, 4, 50, b.tint("#9aa7ad"))
    b.rect(x, y, 26, 20, "#f2f6f7", rx=3)
    b.rect(x + 3, y + 3, 20, 14, b.tint("#2f4a52"), rx=2)
    beat = [(4, 10), (8, 10), (11, 5), (14, 15), (17, 9), (22, 9)]
    b.line([(x + dx, y + dy) for dx, dy in beat], "#6fe08c", 2)
    b.rect(x + 2, y + 62, 20, 4, b.tint("#9aa7ad"), rx=2)


def kitchen(b: Brush) -> None:
    """Yellow tiles, hanging pans, a refrigerator and a hood over the stove."""
    b.rect(0, 0, SIZE, SIZE, b.tint("#f7dd8c"))
    step = b.pick((14, 16, 18))
    joints = [(0, y, SIZE, 1.5) for y in range(8, 88, step)] + [(x, 0, 1.5, 88) for x in range(6, SIZE, step)]
    b.boxes(joints, b.tint("#fbe9b4"))
    b.rect(0, 84, SIZE, 44, b.tint("#c98d4f"))
    b.rect(0, 80, SIZE, 6, b.tint("#f3eee4"))
    steel = b.tint("#6d7075")
    b.rect(22, 3, 70, 2.6, steel)
    for hook in (30, 46, 62, 78):
        x = hook + b.uniform(-3, 3)
        colour = b.tint(b.pick(("#c4552f", "#4c5158", "#b57a3d")))
        b.rect(x - 1, 4, 2.4, 10, steel)
        if b.chance(0.6):
            b.circle(x, 19, b.uniform(5.5, 7), colour)
            b.circle(x, 19, 3.6, b.tint("#8b9097"))
        else:
            b.ellipse(x, 17, 3.4, 4.6, colour)
    x = b.uniform(-4, 0)
    b.rect(x, 26, 26, 98, b.tint("#dbe9ee"), rx=3)
    b.rect(x, 58, 26, 2.4, b.tint("#a9c0c9"))
    b.boxes([(x + 20, 38, 3, 15), (x + 20, 64, 3, 20)], b.tint("#8aa3ad"))
    for _ in range(2):
        b.rect(x + b.uniform(6, 14), b.uniform(30, 50), 5, 5, b.pick(("#e4574c", "#4fa86a", "#f2a53a")), rx=1)
    x = b.uniform(96, 99)
    b.rect(x + 9, 0, 16, 16, b.tint("#b9c2c8"))
    b.poly([(x + 8, 14), (x + 26, 14), (x + 34, 32), (x, 32)], b.tint("#a8b3ba"))
    b.rect(x, 31, 34, 5, b.tint("#8d99a1"))
    b.rect(x + 1, 82, 34, 46, b.tint("#e8ecee"), rx=2)
    b.rect(x + 5, 98, 26, 18, b.tint("#4a4f57"), rx=2)
    for i in range(3):
        b.circle(x + 8 + 8 * i, 91, 2.3, b.tint("#5a6068"))
    pot = b.tint(b.pick(("#d24b3e", "#3f86b5", "#4f9a63")))
    b.rect(x + 6, 66, 19, 15, pot, rx=3)
    b.rect(x + 4, 64, 23, 4, b.tint("#5a6068"), rx=2)
    for dx in (10, 17):
        b.curve(f"M{x + dx:.1f} 60q-4 -5 0 -9t0 -9", "#ffffff", 2.4, opacity=0.8)


def office(b: Brush) -> None:
    """Blue-grey walls, blinds, a rack of binders and a screen with a chart."""
    b.rect(0, 0, SIZE, SIZE, b.tint("#b9c7dc"))
    b.rect(0, 0, SIZE, 7, b.tint("#dde5ef"))
    for lamp in (20, 76):
        b.rect(lamp + b.uniform(-4, 4), 1, 30, 4, "#ffffff", rx=1)
    x = b.uniform(30, 36)
    b.rect(x, 11, 62, 60, b.tint("#f2f5f9"))
    b.rect(x + 3, 14, 56, 54, b.tint("#a8d3ef"))
    b.boxes([(x + 3, y, 56, 3.4) for y in range(14, int(b.uniform(30, 56)), 6)], b.tint("#d3e3ef"))
    b.rect(0, 104, SIZE, 24, b.tint("#8796ad"))
    wood = b.tint("#8f7a66")
    b.rect(-2, 18, 27, 96, wood)
    colours = ("#c8483f", "#3e7d5b", "#e0a53a", "#3f67a3", "#5b5f6b")
    for board in (22, 52, 82):
        b.rect(1, board, 21, 26, b.tint("#6b5a4a"))
        for i in range(3):
            b.rect(1.5 + 7 * i, board + 4, 6, 22, b.tint(b.pick(colours)), rx=1)
            b.rect(3 + 7 * i, board + 8, 3, 6, "#e2ddd2")
    x, y = b.uniform(108, 116), b.uniform(22, 28)
    b.circle(x, y, 9, b.tint("#4a5568"))
    b.circle(x, y, 7, "#ffffff")
    b.line([(x, y), (x, y - 5)], b.tint("#4a5568"), 2)
    b.line([(x, y), (x + b.pick((-3, 3)), y + 2)], b.tint("#4a5568"), 2)
    b.rect(90, 88, 40, 6, b.tint("#a98560"))
    b.boxes([(122, 92, 4, 36), (94, 92, 4, 36)], b.tint("#8a6a4a"))
    x, y = b.uniform(97, 100), b.uniform(58, 62)
    b.rect(x + 11, y + 20, 6, 9, b.tint("#596273"))
    b.rect(x, y, 30, 22, b.tint("#3d4657"), rx=2)
    b.rect(x + 2.5, y + 2.5, 25, 17, b.tint("#eef4fb"))
    for i, colour in enumerate(("#4a7fd0", "#e08a3c", "#4fa86a")):
        h = b.uniform(5, 13)
        b.rect(x + 5.5 + 7 * i, y + 18 - h, 5, h, colour)


def classroom(b: Brush) -> None:
    """A green board with chalk drawings, paper flags, a globe and a desk."""
    b.rect(0, 0, SIZE, SIZE, b.tint("#f6e3c4"))
    b.rect(0, 100, SIZE, 28, b.tint("#d2a571"))
    b.rect(0, 97, SIZE, 4, b.tint("#e6c79c"))
    x, y, w, h = b.uniform(4, 7), b.uniform(12, 15), b.uniform(114, 119), b.uniform(52, 58)
    b.rect(x - 3, y - 3, w + 6, h + 6, b.tint("#a8713f"), rx=2)
    b.rect(x, y, w, h, b.tint("#3c6b58"))
    b.rect(x - 1, y + h + 1, w + 2, 4, b.tint("#c08a52"))
    chalk = b.tint("#dfeee4")
    sums = [(9, 14), (20, 13), (9, 27), (20, 25)]
    for dx, dy in sums:
        if b.chance(0.5):
            b.line([(x + dx - 3, y + dy), (x + dx + 3, y + dy)], chalk, 2)
            b.line([(x + dx, y + dy - 3), (x + dx, y + dy + 3)], chalk, 2)
        else:
            b.line([(x + dx - 3, y + dy - 2), (x + dx + 3, y + dy - 2)], chalk, 2)
            b.line([(x + dx - 3, y + dy + 2), (x + dx + 3, y + dy + 2)], chalk, 2)
    cx, cy = x + w - b.uniform(15, 19), y + b.uniform(13, 18)
    if b.chance(0.5):
        b.line([(cx - 9, cy + 7), (cx + 9, cy + 7), (cx - 9, cy - 7), (cx - 9, cy + 7)], chalk, 2)
    else:
        b.ring(cx, cy, 8, chalk, 2)
        b.line([(cx, cy), (cx + 7, cy - 3)], chalk, 2)
    for row in range(3):
        left = x + w - 26
        b.line([(left, cy + 14 + 6 * row), (left + b.uniform(14, 23), cy + 14 + 6 * row)], chalk, 2, opacity=0.8)
    flags = b.shuffled(("#e4574c", "#f2b13a", "#4f9ed0", "#5fae62", "#b06fc0"))
    for i in range(13):
        b.poly([(i * 10, 0), (i * 10 + 9, 0), (i * 10 + 4.5, 8)], flags[i % 5])
    b.rect(-2, 92, 34, 5, b.tint("#b9834c"))
    b.boxes([(2, 96, 4, 32), (24, 96, 4, 32)], b.tint("#9a6a3a"))
    x = b.uniform(11, 14)
    b.rect(x - 5, 89, 10, 3, b.tint("#7a5230"), rx=1)
    b.circle(x, 80, 9, b.tint("#4f9ed0"))
    b.ellipse(x - 3, 77, 4, 3.2, b.tint("#6fb860"))
    b.ellipse(x + 4, 83, 3, 3.4, b.tint("#6fb860"))
    b.rect(100, 96, 30, 5, b.tint("#b9834c"))
    b.boxes([(104, 100, 4, 28), (122, 100, 4, 28)], b.tint("#9a6a3a"))
    for i, colour in enumerate(b.shuffled(("#d8594b", "#3f7fc0", "#e8b23f"))):
        b.rect(106 + b.uniform(-2, 2), 91 - 5 * i, 18, 5, colour, rx=1)
