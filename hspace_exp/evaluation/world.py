"""What only the embedded world can give an evaluation: true probabilities and images of known truth."""

from __future__ import annotations

import numpy as np
import torch

from hspace_exp.avatars.world import ATTRIBUTES, PROFESSIONS, load_truth, sample_spec
from hspace_exp.errors import unknown
from hspace_exp.evaluation.accuracy import Labelled
from hspace_exp.progress import track

# Far from the seeds of training (0 …) and of the held-out renders that models are measured on (10,000,000 …).
SEED = 30_000_000
SKEWED = ("gender", "age", "skin_tone")


def world_truth(attribute: str) -> dict[str, dict[str, float]]:
    """P(value | profession) of an attribute of the embedded world.

    Raises:
        UserError: the attribute is not one that the truth table skews.
    """
    if attribute not in SKEWED:
        raise unknown("skewed attribute", attribute, SKEWED)
    return {profession: load_truth()[profession].probabilities(attribute) for profession in PROFESSIONS}


def labelled_renders(attribute: str, count: int = 216, size: int = 128) -> Labelled:
    """Renders that no model was trained on, professions and values of ``attribute`` in turn.

    Args:
        attribute: whose values are the labels, e.g. "gender".
        count: number of images.
        size: side of the images in pixels.
    """
    from hspace_exp.avatars.render import render

    if attribute not in ATTRIBUTES or attribute == "subject":
        raise unknown("attribute", attribute, tuple(ATTRIBUTES)[1:])
    choices = ATTRIBUTES[attribute]
    images, values = [], []
    for i in track(range(count), description="render labelled images"):
        value = choices[(i // len(PROFESSIONS)) % len(choices)]
        fixed = {attribute: value}
        spec = sample_spec(np.random.default_rng([SEED, i]), PROFESSIONS[i % len(PROFESSIONS)], **fixed)
        images.append(render(spec, SEED + i, size, parts=False).image)
        values.append(value)
    return Labelled(torch.from_numpy(np.stack(images)), values)
