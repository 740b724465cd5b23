"""What the zero-shot judge of the embedded world asks for: one plain claim a value, as its models were captioned."""

from __future__ import annotations

from hspace_exp.avatars.world import AGES, GENDERS, PROFESSIONS, SCENES, SKIN_TONES

_NOUNS = dict(zip(GENDERS, ("woman", "man"), strict=True))
_ON = frozenset({"beach", "farm", "street", "stage"})


def with_article(phrase: str) -> str:
    """The phrase after "a" or "an"."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def place(scene: str) -> str:
    """A scene after its preposition, e.g. "on the beach"."""
    return f"{'on' if scene in _ON else 'in'} the {scene}"


def judge_texts() -> dict[str, dict[str, str]]:
    """Attribute → value → text, e.g. "a photo of a woman"; subjects as "profession".

    "person" is no profession here: it is true of everybody, so it would win every comparison.
    """
    shown = {
        "profession": {name: name.lower() for name in PROFESSIONS},
        "gender": _NOUNS,
        "age": {age: f"{age} person" for age in AGES},
        "skin_tone": {tone: f"{tone}-skinned person" for tone in SKIN_TONES},
        "scene": {scene: f"person {place(scene)}" for scene in SCENES},
    }
    return {
        attribute: {value: f"a photo of {with_article(phrase)}" for value, phrase in phrases.items()}
        for attribute, phrases in shown.items()
    }
