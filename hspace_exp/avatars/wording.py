"""How captions are worded: the words of each attribute value and the grammar around them.

Words here name presentations of an image. Race words are not used, because the drawings show a skin tone only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hspace_exp.avatars.world import ATTRIBUTES, PROFESSIONS, SCENES, check_value
from hspace_exp.errors import unknown

if TYPE_CHECKING:
    from hspace_exp.avatars.captions import Claim

Draw = Callable[[], float]

_KINDS = ("photo", "picture", "image", "portrait", "headshot", "illustration", "drawing")
_NOUNS = {"female": ("woman", "woman", "woman", "woman", "lady"), "male": ("man", "man", "man", "man", "gentleman")}
_AGE_WORDS = {"young": ("young",), "old": ("old", "old", "elderly")}
# Words that web captions carry and that say nothing about these images; training on them teaches exactly that.
_EMPTY_ADJECTIVES = ("smiling", "happy", "friendly", "professional", "nice", "beautiful", "serious", "good")
_EMPTY_ENDINGS = ("looking at the camera", "in high quality", "smiling", "facing the camera", "at work", "in color")
_ON = frozenset({"beach", "farm", "street", "stage"})


def attribute_words(attribute: str, value: str) -> list[str]:
    """The words that name a value in a prompt, lower case, the commonest first.

    Only words that tell the value from its alternatives: of "dark skin" it is "dark".
    """
    if attribute not in ATTRIBUTES:
        raise unknown("attribute", attribute, tuple(ATTRIBUTES))
    check_value(attribute, value, ATTRIBUTES[attribute])
    if attribute == "gender":
        return {"female": ["female", "woman", "lady"], "male": ["male", "man", "gentleman"]}[value]
    if attribute == "age":
        return list(dict.fromkeys(_AGE_WORDS[value]))
    return value.lower().split()


def plain_text(claim: Claim) -> str:
    """The plainest wording, e.g. "a photo of an old dark-skinned nurse in the forest"."""
    return "a photo of " + _with_article(_noun_phrase(claim)) + _place(claim.scene)


def random_text(claim: Claim, draw: Draw) -> str:
    """A wording as the web might have it, at most 22 tokens long.

    Args:
        claim: what to say.
        draw: gives uniform numbers in [0, 1); called at most 32 times.
    """
    if draw() < 0.04:
        return _tag_text(claim, draw)
    phrase = _with_article(_random_noun_phrase(claim, draw)) if draw() < 0.85 else _random_noun_phrase(claim, draw)
    phrase += _random_place(claim.scene, draw)
    if not claim.scene and draw() < 0.08:
        phrase += " " + _pick(_EMPTY_ENDINGS, draw)
    kind, style = "photo" if draw() < 0.4 else _pick(_KINDS, draw), draw()
    if style < 0.08:
        return phrase
    return (f"{kind} of " if style < 0.35 else f"{_with_article(kind)} of ") + phrase


def _tag_text(claim: Claim, draw: Draw) -> str:
    """Comma-separated keywords, e.g. "photo, nurse, woman, old, dark skin, forest"."""
    words = [_pick(_KINDS, draw), (claim.subject or "person").lower()]
    words += [claim.gender if draw() < 0.5 else _pick(_NOUNS[claim.gender], draw)] if claim.gender else []
    words += [_pick(_AGE_WORDS[claim.age], draw)] if claim.age else []
    words += [f"{claim.skin_tone} skin"] if claim.skin_tone else []
    words += [claim.scene] if claim.scene else []
    return ", ".join(words)


def _noun_phrase(claim: Claim) -> str:
    """The plain wording, e.g. "old dark-skinned female nurse"; a lone gender is "woman" or "man"."""
    named = claim.subject not in (None, "person")
    words = [claim.age, f"{claim.skin_tone}-skinned" if claim.skin_tone else None]
    if claim.gender and not named:
        words.append(_NOUNS[claim.gender][0])
    else:
        words += [claim.gender, (claim.subject or "person").lower()]
    return " ".join(word for word in words if word)


def _random_noun_phrase(claim: Claim, draw: Draw) -> str:
    named = claim.subject not in (None, "person")
    noun, before, after = (claim.subject or "person").lower(), [], ""
    age = _pick(_AGE_WORDS[claim.age], draw) if claim.age else ""
    if draw() < 0.08:
        before.append("successful")
    if draw() < 0.04:
        before.append(_pick(_EMPTY_ADJECTIVES, draw))
    relative = bool(claim.gender) and draw() < 0.12
    if relative:
        woman = _pick(_NOUNS[claim.gender or ""], draw)
        inside = age if draw() < 0.5 else ""
        age = "" if inside else age
        who = _with_article(f"{inside} {woman}".strip()) if inside or draw() < 0.6 else claim.gender
        after = f" who is {who}"
    if age:
        before.append(age)
    if claim.skin_tone:
        style = draw()
        if style < 0.4:
            after += f" with {claim.skin_tone} skin"
        else:
            words = f"{claim.skin_tone}-skinned" if style < 0.85 else f"{claim.skin_tone} skinned"
            before.insert(len(before) - (bool(age) and draw() < 0.3), words)
    if claim.gender and not relative:
        if not named and draw() < 0.7:
            noun = _pick(_NOUNS[claim.gender], draw)
        else:
            before.append(claim.gender)
    return " ".join([*before, noun]) + after


def _place(scene: str | None) -> str:
    return f" {'on' if scene in _ON else 'in'} the {scene}" if scene else ""


def _random_place(scene: str | None, draw: Draw) -> str:
    if not scene:
        return ""
    style = draw()
    if style < 0.5:
        return _place(scene)
    if style < 0.72:
        return f" {'on' if scene in _ON else 'in'} {_with_article(scene)}"
    if style < 0.86:
        return f" at the {scene}" if style < 0.8 else f" at {_with_article(scene)}"
    if style < 0.92:
        return f" with {_with_article(scene)} in the background"
    return f", {scene} background" if style < 0.96 else f", {scene}"


def _with_article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def _pick(choices: Sequence[str], draw: Draw) -> str:
    return choices[int(draw() * len(choices))]


# Every word that a caption can hold and no other: a word outside it is one that the model never saw, and the
# tokenizer's warning about unknown words can say so.
VOCABULARY_TEXT: list[str] = [
    *(f"a {kind} of a {profession.lower()}" for kind in _KINDS for profession in ("person", *PROFESSIONS)),
    *(f"an {word} person who is {word}, in the background" for words in _AGE_WORDS.values() for word in words),
    *(f"a {word} person, {word}" for gender in _NOUNS for word in attribute_words("gender", gender)),
    *(f"{tone}-skinned person with {tone} skin" for tone in ATTRIBUTES["skin_tone"]),
    *(f"a person {word} the {scene}" for scene in SCENES for word in ("in", "on", "at")),
    *(f"a successful {word} person" for word in _EMPTY_ADJECTIVES),
    *_EMPTY_ENDINGS,
]
