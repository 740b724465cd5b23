"""What one image of the embedded world shows, and how that is drawn at random."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from hspace_exp.avatars.world import ATTRIBUTES, SCENES, SUBJECTS, load_truth
from hspace_exp.errors import unknown

# Where a profession is seen more often than by chance; everyone else is spread evenly over the scenes.
HOME_SCENE: Mapping[str, str] = MappingProxyType(
    {
        "nurse": "hospital",
        "doctor": "hospital",
        "physician": "hospital",
        "cook": "kitchen",
        "baker": "kitchen",
        "teacher": "classroom",
        "librarian": "library",
        "writer": "library",
        "farmer": "farm",
        "mechanic": "garage",
        "driver": "street",
        "sheriff": "street",
        "construction worker": "city",
        "CEO": "office",
        "secretary": "office",
        "receptionist": "office",
        "analyst": "office",
    }
)
P_HOME_SCENE = 0.3


def check_value(attribute: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise the error that lists the choices unless ``value`` is one of them."""
    if value not in choices:
        raise unknown(attribute.replace("_", " "), value, choices)


@dataclass(frozen=True)
class Spec:
    """What one image shows; together with a seed it determines every pixel."""

    subject: str
    gender: str
    age: str
    skin_tone: str
    scene: str

    def __post_init__(self) -> None:
        """Refuse values outside this world."""
        for attribute, choices in ATTRIBUTES.items():
            check_value(attribute, getattr(self, attribute), choices)


def scene_probabilities(subject: str) -> dict[str, float]:
    """P(scene | subject): ``P_HOME_SCENE`` for a profession's own scene, the rest spread evenly."""
    check_value("subject", subject, SUBJECTS)
    home = HOME_SCENE.get(subject)
    if home is None:
        return dict.fromkeys(SCENES, 1.0 / len(SCENES))
    elsewhere = (1.0 - P_HOME_SCENE) / (len(SCENES) - 1)
    return {scene: P_HOME_SCENE if scene == home else elsewhere for scene in SCENES}


def sample_spec(rng: np.random.Generator, subject: str | None = None, **fixed: str) -> Spec:
    """Draw a spec from the world, with some attributes held fixed.

    Five uniform numbers are consumed whatever is fixed, so fixing one attribute leaves the others' draws unchanged.

    Args:
        rng: source of randomness; equal states give equal specs.
        subject: a profession or "person"; None draws one evenly.
        **fixed: values of ``gender``, ``age``, ``skin_tone`` or ``scene``.

    Returns:
        a spec distributed as the truth table says, given what is fixed.
    """
    for name in fixed:
        if name not in ATTRIBUTES:
            raise unknown("attribute", name, tuple(ATTRIBUTES)[1:])
    draws = dict(zip(ATTRIBUTES, rng.random(len(ATTRIBUTES)), strict=True))
    if subject is None:
        subject = SUBJECTS[int(draws["subject"] * len(SUBJECTS))]
    check_value("subject", subject, SUBJECTS)
    shares = {**load_truth()[subject], "scene": scene_probabilities(subject)}
    values = {name: _pick(shares[name], draws[name]) for name in ("gender", "age", "skin_tone", "scene")}
    return Spec(subject=subject, **{**values, **fixed})


def _pick(probabilities: Mapping[str, float], draw: float) -> str:
    """The value at quantile ``draw`` in [0, 1) of a discrete distribution."""
    total = 0.0
    for value, probability in probabilities.items():
        total += probability
        if draw < total:
            return value
    return next(reversed(list(probabilities)))
