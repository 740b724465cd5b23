"""A tiny SVG writer with a seeded source of variety, in which the scenes are drawn."""

from __future__ import annotations

import colorsys
import math
import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")
Point = tuple[float, float]
SIZE = 128


class Brush:
    """Collects SVG elements in a 128 by 128 view box; equal seeds draw equal pictures.

    Only ``random.Random.random`` is drawn on, the one generator that Python promises to keep.
    """

    def __init__(self, seed: str) -> None:
        """Start an empty drawing whose variety is fixed by ``seed``."""
        self._random = random.Random(seed).random
        self._defs: list[str] = []
        self._body: list[str] = []
        self._hue = self.uniform(-0.012, 0.012)
        self._light = self.uniform(-0.025, 0.025)

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self._random()

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random() < probability

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices, evenly."""
        return choices[int(self._random() * len(choices))]

    def shuffled(self, choices: Iterable[T]) -> list[T]:
        """The choices in random order."""
        return [choice for _, _, choice in sorted((self._random(), i, choice) for i, choice in enumerate(choices))]

    def tint(self, colour: str, light: float = 0.0, spread: float = 0.0) -> str:
        """A colour in this picture's light, made lighter by ``light`` ± ``spread`` (HLS lightness, -1 to 1)."""
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
        lightness += self._light + light + (self.uniform(-spread, spread) if spread else 0.0)
        rgb = colorsys.hls_to_rgb((hue + self._hue) % 1, min(max(lightness, 0.0), 1.0), saturation)
        return "#" + "".join(f"{round(255 * channel):02x}" for channel in rgb)

    def rect(self, x: float, y: float, w: float, h: float, fill: str, rx: float = 0, opacity: float = 1) -> None:
        """A rectangle, its corners rounded by ``rx``."""
        corner = f' rx="{rx:g}"' if rx else ""
        self._add(f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}"{corner}', fill, opacity)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: str, turn: float = 0, opacity: float = 1) -> None:
        """An ellipse around (x, y), turned by ``turn`` degrees."""
        turned = f' transform="rotate({turn:.0f} {x:.1f} {y:.1f})"' if turn else ""
        self._add(f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{rx:.1f}" ry="{ry:.1f}"{turned}', fill, opacity)

    def circle(self, x: float, y: float, r: float, fill: str, opacity: float = 1) -> None:
        """A disc."""
        self.ellipse(x, y, r, r, fill, opacity=opacity)

    def poly(self, points: Iterable[Point], fill: str, opacity: float = 1) -> None:
        """A filled polygon."""
        self._add(f'<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"', fill, opacity)

    def path(self, data: str, fill: str, opacity: float = 1) -> None:
        """A filled path."""
        self._add(f'<path d="{data}"', fill, opacity)

    def boxes(self, boxes: Iterable[tuple[float, float, float, float]], fill: str, opacity: float = 1) -> None:
        """Many (x, y, w, h) rectangles of one colour as a single path."""
        self.path("".join(f"M{x:.1f} {y:.1f}h{w:.1f}v{h:.1f}h{-w:.1f}z" for x, y, w, h in boxes), fill, opacity)

    def line(self, points: Sequence[Point], stroke: str, width: float, opacity: float = 1) -> None:
        """A polyline with round ends."""
        self.curve("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points), stroke, width, opacity)

    def curve(self, data: str, stroke: str, width: float, opacity: float = 1) -> None:
        """A stroked path with round ends."""
        style = f'stroke="{stroke}" stroke-width="{width:g}" stroke-linecap="round" stroke-linejoin="round"'
        self._add(f'<path d="{data}" {style}', "none", opacity)

    def ring(self, x: float, y: float, r: float, stroke: str, width: float) -> None:
        """A circle's outline."""
        self._add(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" stroke="{stroke}" stroke-width="{width:g}"', "none", 1
        )

    def star(self, x: float, y: float, r: float, fill: str, points: int = 5, inner: float = 0.45) -> None:
        """A star around (x, y)."""
        turn = math.pi / points
        radii = ((r if i % 2 == 0 else r * inner, i * turn) for i in range(2 * points))
        self.poly([(x + s * math.sin(a), y - s * math.cos(a)) for s, a in radii], fill)

    def gradient(self, top: str, bottom: str) -> str:
        """A vertical gradient of the shape that it fills; returns what to pass as ``fill``."""
        name = f"g{len(self._defs)}"
        stops = f'<stop offset="0" stop-color="{top}"/><stop offset="1" stop-color="{bottom}"/>'
        self._defs.append(f'<linearGradient id="{name}" x1="0" y1="0" x2="0" y2="1">{stops}</linearGradient>')
        return f"url(#{name})"

    def svg(self, mirrored: bool = False) -> str:
        """The document; ``mirrored`` swaps left and right."""
        body = "".join(self._body)
        if mirrored:
            body = f'<g transform="translate({SIZE} 0) scale(-1 1)">{body}</g>'
        defs = f"<defs>{''.join(self._defs)}</defs>" if self._defs else ""
        return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}">{defs}{body}</svg>'

    def _add(self, start: str, fill: str, opacity: float) -> None:
        faint = f' opacity="{opacity:g}"' if opacity < 1 else ""
        self._body.append(f'{start} fill="{fill}"{faint}/>')
