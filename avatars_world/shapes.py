"""Shorthands in which garments, hats and props are written as SVG.

Fills are hex colours. What is drawn with an opacity below one half is shading and belongs to whatever lies below it.
"""

from __future__ import annotations

from collections.abc import Iterable


def path(data: str, fill: str, opacity: float = 1) -> str:
    """A filled path."""
    return f'<path d="{data}" fill="{fill}"{_faint(opacity)}/>'


def stroke(data: str, colour: str, width: float, opacity: float = 1) -> str:
    """A stroked path with round ends."""
    ends = 'stroke-linecap="round" stroke-linejoin="round"'
    return f'<path d="{data}" fill="none" stroke="{colour}" stroke-width="{width:g}" {ends}{_faint(opacity)}/>'


def rect(x: float, y: float, w: float, h: float, fill: str, rx: float = 0, opacity: float = 1) -> str:
    """A rectangle, its corners rounded by ``rx``."""
    return f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{rx:g}" fill="{fill}"{_faint(opacity)}/>'


def circle(x: float, y: float, r: float, fill: str, opacity: float = 1) -> str:
    """A disc."""
    return f'<circle cx="{x:g}" cy="{y:g}" r="{r:g}" fill="{fill}"{_faint(opacity)}/>'


def ellipse(x: float, y: float, rx: float, ry: float, fill: str, opacity: float = 1) -> str:
    """An upright ellipse."""
    return f'<ellipse cx="{x:g}" cy="{y:g}" rx="{rx:g}" ry="{ry:g}" fill="{fill}"{_faint(opacity)}/>'


def ring(x: float, y: float, r: float, colour: str, width: float) -> str:
    """A circle's outline."""
    return f'<circle cx="{x:g}" cy="{y:g}" r="{r:g}" fill="none" stroke="{colour}" stroke-width="{width:g}"/>'


def group(drawings: Iterable[str], transform: str) -> str:
    """Drawings under one transform."""
    return f'<g transform="{transform}">{"".join(drawings)}</g>'


def both(*drawings: str) -> str:
    """Drawings and their mirror image about the portrait's axis x = 132."""
    drawing = "".join(drawings)
    return f'{drawing}<g transform="translate(264 0) scale(-1 1)">{drawing}</g>'


def shade(colour: str, amount: float) -> str:
    """A hex colour moved towards white (``amount`` in (0, 1]) or black (in [-1, 0))."""
    goal = 255 if amount > 0 else 0
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(c + (goal - c) * abs(amount)):02x}" for c in channels)


def _faint(opacity: float) -> str:
    return f' opacity="{opacity:g}"' if opacity < 1 else ""
