"""What a caption claims: some attributes are named, everything else is left open.

A claim can be checked against any spec, so an image-text model can be trained on an exact truth matrix instead of "the
other captions of the batch are wrong".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from avatars_world.specs import Spec, check_value
from hspace_exp.avatars.world import ATTRIBUTES
from hspace_exp.errors import unknown

# How often a default caption names an attribute; words of gender, age and skin tone must be frequent to be obeyed.
MENTION_PROBABILITY: Mapping[str, float] = MappingProxyType(
    {"subject": 0.9, "gender": 0.5, "age": 0.35, "skin_tone": 0.35, "scene": 0.7}
)


@dataclass(frozen=True)
class Claim:
    """What a caption says; None leaves an attribute open, subject "person" is true of everybody."""

    subject: str | None = None
    gender: str | None = None
    age: str | None = None
    skin_tone: str | None = None
    scene: str | None = None

    def __post_init__(self) -> None:
        """Refuse values outside the world."""
        for attribute, choices in ATTRIBUTES.items():
            value = getattr(self, attribute)
            if value is not None:
                check_value(attribute, value, choices)


def claim_is_true(claim: Claim, spec: Spec) -> bool:
    """Whether every attribute that the claim names holds for the spec."""
    return all(
        value is None or value == getattr(spec, attribute) or value == "person"
        for attribute, value in ((name, getattr(claim, name)) for name in ATTRIBUTES)
    )


def truth_matrix(specs: Sequence[Spec], claims: Sequence[Claim]) -> np.ndarray:
    """All answers of `claim_is_true` at once: bool array (len(specs), len(claims))."""
    truth = np.ones((len(specs), len(claims)), dtype=bool)
    for attribute, choices in ATTRIBUTES.items():
        code = {value: index for index, value in enumerate(choices)}
        shown = np.array([code[getattr(spec, attribute)] for spec in specs], dtype=int)
        open_values = (None, "person")
        claimed = np.array([-1 if (v := getattr(c, attribute)) in open_values else code[v] for c in claims], dtype=int)
        truth &= (claimed[None, :] == -1) | (claimed[None, :] == shown[:, None])
    return truth


def sample_claim(spec: Spec, rng: np.random.Generator, *, mention: Collection[str] | None = None) -> Claim:
    """A true claim about ``spec``.

    Args:
        spec: what the image shows.
        rng: source of randomness.
        mention: exactly the attributes to name; None draws them by ``MENTION_PROBABILITY``.
    """
    if mention is None:
        draws = rng.random(len(ATTRIBUTES))
        mention = [name for name, draw in zip(ATTRIBUTES, draws, strict=True) if draw < MENTION_PROBABILITY[name]]
    for name in mention:
        if name not in ATTRIBUTES:
            raise unknown("attribute", name, tuple(ATTRIBUTES))
    return Claim(**{name: getattr(spec, name) for name in mention})
