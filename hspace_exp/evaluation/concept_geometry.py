"""How the vectors of several concepts lie to one another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F

from hspace_exp.concepts.concept import load_concept
from hspace_exp.errors import UserError


def concept_cosines(files: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Cosines between the concepts of one run: name → name → cosine, rounded to four digits; {} for fewer than two.

    A channel vector is the same at every place, and is compared with spatial ones as such. Raises UserError: a file is
    no concept, or a vector is zero and so has no direction.
    """
    if len(files) < 2:
        return {}
    concepts = [load_concept(file) for file in files]
    vectors = torch.stack([concept.vector.expand(concept.h_shape).flatten().double() for concept in concepts])
    if bool((vectors.norm(dim=1) == 0).any()):
        raise UserError("a zero vector has no direction to compare")
    unit = F.normalize(vectors, dim=1)
    cosines, names = (unit @ unit.T).clamp(-1, 1).tolist(), [concept.name for concept in concepts]
    return {a: {b: round(x, 4) for b, x in zip(names, row, strict=True)} for a, row in zip(names, cosines, strict=True)}
