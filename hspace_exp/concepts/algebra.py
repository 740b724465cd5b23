"""Sums of concept vectors, what is left of one beside others, and the angles between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional import pairwise_cosine_similarity

from hspace_exp.concepts.concept import WEIGHTS, Concept, load_concept
from hspace_exp.errors import UserError

Some = Sequence[Concept]
Paths = Sequence[Path]


def flat(concepts: Some) -> Tensor:
    """Their vectors as rows, float64; a channel vector is the same at every place of h."""
    return torch.stack([one.vector.expand(one.h_shape).flatten().double() for one in concepts])


def concept_cosines(concepts: Some) -> dict[str, dict[str, float]]:
    """Cosines between concepts' vectors: name → name → cosine, to four digits; {} for less than two, or for weights."""
    if len(concepts) < 2 or any(one.kind == WEIGHTS for one in concepts):
        return {}
    found = pairwise_cosine_similarity(flat(concepts), zero_diagonal=False).tolist()
    names = [one.name for one in concepts]
    return {a: {b: round(x, 4) for b, x in zip(names, row, strict=True)} for a, row in zip(names, found, strict=True)}


def combined(name: str, add: Some, subtract: Some = (), orthogonal_to: Some = (), scale: float = 1.0) -> Concept:
    """``scale`` times the sum of some concepts less others, without its part in the span of still others.

    It is added plainly: another's gate and presence say nothing of it. Strength, branch and guidance scale are stated
    where all terms state the same. Raises UserError: concepts of different models, or nothing is left.
    """
    first, terms, every = add[0], [*add, *subtract], [*add, *subtract, *orthogonal_to]
    for one in every:
        if (one.model, one.revision, one.h_shape) != (first.model, first.revision, first.h_shape):
            raise UserError(f"{one.name!r} and {first.name!r} are of different models: name concepts of one model")
        if one.kind == WEIGHTS:
            raise UserError(f"{one.name!r} is of weights, which do not add up: name vectors of h")
    rows = flat(terms)
    vector = scale * (rows[: len(add)].sum(0) - rows[len(add) :].sum(0))
    if orthogonal_to:
        others = F.normalize(flat(orthogonal_to))
        vector = vector - torch.linalg.pinv(others, rtol=1e-5) @ (others @ vector)  # files hold float32
    if not vector.norm() > 1e-6 * abs(scale) * rows.norm():
        raise UserError(f"nothing is left for {name!r}: its terms cancel out, or lie in the span of the others")
    spatial, whole = any(one.kind == "spatial" for one in every), vector.reshape(first.h_shape)
    signed = [f"{sign} {one.name}" for sign, some in (("+", add), ("-", subtract)) for one in some]
    made = f"{scale:g} * ({' '.join(signed)})" + "".join(f", orthogonal to {one.name}" for one in orthogonal_to)
    used = {key: getattr(first.used, key) for key in ("strength", "branch", "guidance_scale")}
    alike = {key: v for key, v in used.items() if v and all(getattr(one.used, key) == v for one in terms)}
    return replace(
        first,
        vector=whole if spatial else whole[:, :1, :1],
        name=name,
        method="plain",
        prompts=dict(first.prompts) if len(terms) == 1 else {},
        hyperparameters={"made": made, **alike},
        metrics={},
        licence=", ".join(sorted({one.licence for one in every})),
        presence=None,
        folder=None,
    )


def write(
    target: Path, add: Paths, subtract: Paths | None = None, orthogonal_to: Paths | None = None, scale: float = 1.0
) -> None:
    """Save what is ``combined`` of files, named after its own, and print its place and the cosines of all of them."""
    if target.exists() or target.suffix != ".safetensors":
        raise UserError(f"expected a new file NAME.safetensors for what is made, got {target}")
    plus, minus, beside = ([load_concept(path) for path in some] for some in (add, subtract or (), orthogonal_to or ()))
    made = combined(target.stem, plus, minus, beside, scale)
    print(made.save(target))
    for name, row in concept_cosines([*plus, *minus, *beside, made]).items():
        print(f"{name:>12}", *(f"{other} {cosine:+.3f}" for other, cosine in row.items()), sep="  ")
