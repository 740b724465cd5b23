"""A move of the studio's slider: one image of the embedded model with another strength, its unedited run at hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from benchmarks.bench import Bench
from benchmarks.findings import AT_MOST
from hspace_studio.opening import opened
from hspace_studio.session import DRAFT_STEPS, Asked

LIMIT = 1.2  # seconds, of a move while dragging


def measure(bench: Bench) -> None:
    """A move at the steps of a draft, as while dragging, and at the usual ones, as on release; each is another one."""
    session = opened([f"device={bench.device.type}"]).session
    strengths = (0.5 + 0.01 * n for n in count())
    for what, steps in (("while dragging", DRAFT_STEPS), ("on release", 20)):
        asked = Asked("a photo of a carpenter", "female", steps=bench.of_size(steps, 2))
        session.look(asked)

        def move(asked: Asked = asked) -> None:
            session.look(replace(asked, strength=next(strengths)))

        move()
        seconds = bench.time(f"a move {what}, {asked.steps} steps", move, calls=1, repeats=9)
        if steps == DRAFT_STEPS:
            bench.found.bar("time of a move of the slider while dragging", seconds, LIMIT, AT_MOST, "s")
