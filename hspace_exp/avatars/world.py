"""The embedded world: what its images can show, and with what probability.

The joint distribution is known exactly, which no photograph collection can offer. It is shipped as ``truth.csv``:

* ``p_female``: the share of women in the US labour statistics that WinoBias (Zhao et al., 2018) used;
  "doctor" takes the figure of "physician", "person" is even.
* ``p_old``, ``p_light``, ``p_tan``, ``p_dark``: **invented for this world**. They imitate skews that text-to-image
  models are reported to show (a CEO or a lawyer drawn light-skinned and old, a janitor or a laborer dark-skinned, a
  developer young), so that a bias of age and skin tone exists to be measured and removed. They are no claim about
  people.

Gender, age, skin tone and scene are independent of each other given the subject. All of them are *presentations of an
image* (a hair style, wrinkles, a fill colour), never facts about somebody.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

GENDERS = ("female", "male")
AGES = ("young", "old")
SKIN_TONES = ("light", "tan", "dark")
SCENES: tuple[str, ...] = ("hospital", "kitchen", "office", "forest", "beach", "city", "library", "farm")
SCENES += ("classroom", "street", "garage", "stage")
_TRUTH = [*csv.DictReader(Path(__file__).with_name("truth.csv").read_text("utf-8").splitlines())]
SUBJECTS = tuple(row["subject"] for row in _TRUTH)
PROFESSIONS = SUBJECTS[1:]  # but for "person"
# Attributes whose probabilities depend on the subject.
SKEWED = ("gender", "age", "skin_tone")
_ON = frozenset({"beach", "farm", "street", "stage"})

ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"subject": SUBJECTS, "gender": GENDERS, "age": AGES, "skin_tone": SKIN_TONES, "scene": SCENES}
)


@functools.cache
def load_truth() -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """Subject, in the order of ``SUBJECTS`` → attribute of ``SKEWED`` → value → its probability; these sum to one."""
    table = {}
    for row in _TRUTH:
        female, old, *tones = (float(row[f"p_{value}"]) for value in ("female", "old", *SKIN_TONES))
        table[row["subject"]] = {
            "gender": {"female": female, "male": 1.0 - female},
            "age": {"young": 1.0 - old, "old": old},
            "skin_tone": dict(zip(SKIN_TONES, tones, strict=True)),
        }
    return MappingProxyType(table)


def with_article(phrase: str) -> str:
    """The phrase after "a" or "an"."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def place(scene: str) -> str:
    """A scene after its preposition, e.g. "on the beach"."""
    return f"{'on' if scene in _ON else 'in'} the {scene}"


def judge_texts() -> dict[str, dict[str, str]]:
    """What the zero-shot judge asks for, as its models were captioned: attribute → value → "a photo of a woman".

    Subjects are "profession".
    "person" is no profession here: it is true of everybody, so it would win every comparison.
    """
    shown = {
        "profession": {name: name.lower() for name in PROFESSIONS},
        "gender": {"female": "woman", "male": "man"},
        "age": {age: f"{age} person" for age in AGES},
        "skin_tone": {tone: f"{tone}-skinned person" for tone in SKIN_TONES},
        "scene": {scene: f"person {place(scene)}" for scene in SCENES},
    }
    return {
        attribute: {value: f"a photo of {with_article(phrase)}" for value, phrase in phrases.items()}
        for attribute, phrases in shown.items()
    }
