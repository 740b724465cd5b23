"""Web-like captions of avatars: the words of each attribute value and the grammar around them.

Words here name presentations of an image. Race words are not used, because the drawings show a skin tone only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from avatars_world.claims import Claim, sample_claim
from avatars_world.specs import Spec, check_value
from hspace_exp.avatars.world import ATTRIBUTES, PROFESSIONS, SCENES, place, with_article
from hspace_exp.errors import unknown

Draw = Callable[[], float]

_KINDS = ("photo", "picture", "image", "portrait", "headshot", "illustration", "drawing")
_NOUNS = {"female": ("woman", "woman", "woman", "woman", "lady"), "male": ("man", "man", "man", "man", "gentleman")}
_AGE_WORDS = {"young": ("young",), "old": ("old", "old", "elderly")}
# Words that web captions carry and that say nothing about these images; training on them teaches exactly that.
_EMPTY_ADJECTIVES = ("smiling", "happy", "friendly", "professional", "nice", "beautiful", "serious", "good")
_EMPTY_ENDINGS = ("looking at the camera", "in high quality", "smiling", "facing the camera", "at work", "in color")


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


def caption(spec: Spec, rng: np.random.Generator, *, mention: Collection[str] | None = None) -> str:
    """A caption as the web might give it, e.g. "a photo of an old dark-skinned nurse in the forest".

    Args:
        spec: what the image shows.
        rng: source of randomness; equal states give equal captions.
        mention: exactly the attributes to name; None draws them by ``MENTION_PROBABILITY``.

    Returns:
        Lower-case text. An unnamed subject becomes "person", or "woman" or "man" where the gender is named.
    """
    return random_text(sample_claim(spec, rng, mention=mention), rng)


def plain_text(claim: Claim) -> str:
    """The plainest wording, e.g. "a photo of an old dark-skinned nurse in the forest"."""
    return "a photo of " + with_article(_noun_phrase(claim)) + (f" {place(claim.scene)}" if claim.scene else "")


def random_text(claim: Claim, rng: np.random.Generator) -> str:
    """A wording as the web might have it, at most 22 tokens long.

    Args:
        claim: what to say.
        rng: source of randomness; 32 uniform numbers are drawn.
    """
    draw = iter(rng.random(32).tolist()).__next__
    if draw() < 0.04:
        return _tag_text(claim, draw)
    phrase = with_article(_random_noun_phrase(claim, draw)) if draw() < 0.85 else _random_noun_phrase(claim, draw)
    phrase += _random_place(claim.scene, draw)
    if not claim.scene and draw() < 0.08:
        phrase += " " + _pick(_EMPTY_ENDINGS, draw)
    kind, style = "photo" if draw() < 0.4 else _pick(_KINDS, draw), draw()
    if style < 0.08:
        return phrase
    return (f"{kind} of " if style < 0.35 else f"{with_article(kind)} of ") + phrase


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
        who = with_article(f"{inside} {woman}".strip()) if inside or draw() < 0.6 else claim.gender
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


def _random_place(scene: str | None, draw: Draw) -> str:
    if not scene:
        return ""
    style = draw()
    if style < 0.5:
        return f" {place(scene)}"
    if style < 0.72:
        return f" {place(scene).split()[0]} {with_article(scene)}"
    if style < 0.86:
        return f" at the {scene}" if style < 0.8 else f" at {with_article(scene)}"
    if style < 0.92:
        return f" with {with_article(scene)} in the background"
    return f", {scene} background" if style < 0.96 else f", {scene}"


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
