"""What only the embedded world can give an evaluation: true probabilities and images of known truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
import torch

from hspace_exp.avatars.world import ATTRIBUTES, PROFESSIONS, load_truth, sample_spec
from hspace_exp.errors import unknown
from hspace_exp.evaluation.accuracy import Labelled
from hspace_exp.groups import JOIN
from hspace_exp.progress import track

# Far from the seeds of training (0 …) and of the held-out renders that models are measured on (10,000,000 …).
SEED = 30_000_000
SKEWED = ("gender", "age", "skin_tone")


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


def labelled_renders(attributes: str | Sequence[str], count: int = 216, size: int = 128) -> Labelled:
    """Renders that no model was trained on, professions and values in turn; one process draws them once.

    Args:
        attributes: whose values are the labels, e.g. "gender", or whose combinations.
        count: number of images.
        size: side of the images in pixels.
    """
    names = [attributes] if isinstance(attributes, str) else list(attributes)
    for name in names:
        if name not in ATTRIBUTES or name == "subject":
            raise unknown("attribute", name, tuple(ATTRIBUTES)[1:])
    return _drawn(tuple(names), count, size)


@lru_cache(maxsize=4)
def _drawn(names: tuple[str, ...], count: int, size: int) -> Labelled:
    from hspace_exp.avatars.render import render

    choices = list(product(*(ATTRIBUTES[name] for name in names)))
    images, values = [], []
    for i in track(range(count), description="render labelled images"):
        chosen = choices[(i // len(PROFESSIONS)) % len(choices)]
        fixed = dict(zip(names, chosen, strict=True))
        spec = sample_spec(np.random.default_rng([SEED, i]), PROFESSIONS[i % len(PROFESSIONS)], **fixed)
        images.append(render(spec, SEED + i, size, parts=False).image)
        values.append(JOIN.join(chosen))
    return Labelled(torch.from_numpy(np.stack(images)), values)
