"""How the vectors of several concepts lie to one another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from hspace_exp.concepts.concept import load_concept
from hspace_exp.errors import UserError


def concept_cosines(files: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Cosine matrix of concept files: name → name → cosine, rounded to four digits.

    A channel vector is the same at every place, and is compared with spatial ones as such. Files that share a name are
    told apart by their folders.

    Raises:
        UserError: a file is no concept, the concepts are of models with other h, or a vector is zero.
    """
    if not files:
        raise UserError("expected at least one concept file, got none")
    concepts = [load_concept(file) for file in files]
    for file, concept in zip(files, concepts, strict=True):
        if concept.h_shape != concepts[0].h_shape:
            raise UserError(f"{file} is for h {concept.h_shape}, {files[0]} for h {concepts[0].h_shape}")
    names = [concept.name for concept in concepts]
    if len(set(names)) < len(names):
        names = [f"{name} ({file.parent})" for name, file in zip(names, files, strict=True)]
    vectors = torch.stack([concept.vector.expand(concept.h_shape).flatten() for concept in concepts])
    rows = [[round(value, 4) for value in row] for row in cosine_matrix(vectors).tolist()]
    return {name: dict(zip(names, row, strict=True)) for name, row in zip(names, rows, strict=True)}


def cosine_matrix(vectors: Tensor) -> Tensor:
    """Cosines of (K, N) vectors with one another; (K, K) float64 in [-1, 1].

    Raises:
        UserError: a vector is zero, and so has no direction.
    """
    rows = vectors.double()
    if bool((rows.norm(dim=1) == 0).any()):
        raise UserError("a zero vector has no direction to compare")
    unit = F.normalize(rows, dim=1)
    return (unit @ unit.T).clamp(-1, 1)
