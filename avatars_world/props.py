"""What people of this world hold: one prop a profession, our own SVG.

A prop is put over the person's shoulder at ``PLACE``; long ones stand upright beside the person.
"""

from __future__ import annotations

from avatars_world.props_goods import GOODS
from avatars_world.props_tools import TOOLS
from avatars_world.shapes import group

PLACE = (204, 250)
_PROPS = {**GOODS, **TOOLS}


def prop(name: str) -> tuple[str, tuple[float, float] | None]:
    """The SVG of a prop in the portrait's coordinates, and the centre of the hand that holds it, if one does."""
    drawing, grip = _PROPS[name]
    x, y = PLACE
    return group([drawing], f"translate({x} {y})"), (x + grip[0], y + grip[1]) if grip else None
