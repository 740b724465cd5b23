"""What only the embedded world can give an evaluation: true probabilities and images of known truth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product

import torch

from hspace_exp.avatars.labelled import Ahead, Wanted
from hspace_exp.avatars.world import ATTRIBUTES, PROFESSIONS, load_truth
from hspace_exp.errors import unknown
from hspace_exp.evaluation.accuracy import Labelled
from hspace_exp.prompts.attributes import JOIN

SKEWED = ("gender", "age", "skin_tone")

# What this process has drawn, and what others draw for it.
_drawn: dict[Wanted, Labelled] = {}
_ahead: dict[Wanted, Ahead] = {}


def world_truth(*attributes: str) -> dict[str, dict[str, float]]:
    """P(value | profession) of an attribute of the embedded world, or of the combination of several.

    Given the profession, attributes are independent of one another there.

    Raises:
        UserError: an attribute is not one that the truth table skews.
    """
    for attribute in attributes:
        if attribute not in SKEWED:
            raise unknown("skewed attribute", attribute, SKEWED)
    truth = {}
    for profession in PROFESSIONS:
        parts = [load_truth()[profession].probabilities(attribute) for attribute in attributes]
        truth[profession] = {
            JOIN.join(values): math.prod(part[value] for part, value in zip(parts, values, strict=True))
            for values in product(*parts)
        }
    return truth


def can_draw(attributes: Sequence[str]) -> bool:
    """Whether the embedded world knows all these attributes."""
    return set(attributes) <= set(ATTRIBUTES)


def labelled_renders(attributes: str | Sequence[str], count: int = 216, size: int = 128) -> Labelled:
    """Renders that no model was trained on, professions and values in turn; one process draws them once.

    Args:
        attributes: whose values are the labels, e.g. "gender", or whose combinations.
        count: number of images.
        size: side of the images in pixels.
    """
    wanted = _wanted(attributes, count, size)
    if wanted not in _drawn:
        ahead = _ahead.pop(wanted, None)
        images = wanted.draw() if ahead is None else ahead.images()
        _drawn[wanted] = Labelled(torch.from_numpy(images), [JOIN.join(wanted.value(i)) for i in range(count)])
    return _drawn[wanted]


@contextmanager
def drawn_ahead(attributes: str | Sequence[str], count: int = 216, size: int = 128) -> Iterator[None]:
    """Meanwhile, another process draws ``labelled_renders``; who asks for them gets them from it."""
    wanted = _wanted(attributes, count, size)
    if wanted not in _drawn and wanted not in _ahead:
        _ahead[wanted] = Ahead(wanted)
    try:
        yield
    finally:
        unused = _ahead.pop(wanted, None)
        if unused is not None:
            unused.stop()


def _wanted(attributes: str | Sequence[str], count: int, size: int) -> Wanted:
    names = (attributes,) if isinstance(attributes, str) else tuple(attributes)
    for name in names:
        if name not in ATTRIBUTES or name == "subject":
            raise unknown("attribute", name, tuple(ATTRIBUTES)[1:])
    return Wanted(names, count, size)
