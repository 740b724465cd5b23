"""The wording of English prompts: small changes to it, and the prompts that a concept is learnt from."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hspace_exp.errors import UserError
from hspace_exp.prompts.attributes import ConceptPrompts

log = logging.getLogger(__name__)

PERSON = "person"

# Words that sound otherwise than they are spelt: "an hour", "a one-eyed man", "a user". Initials are spelt: "an MRI".
_SILENT_H = re.compile(r"h(?:our|onest|onou?r|eir)", re.IGNORECASE)
_CONSONANT = re.compile(
    r"eu|ewe|once\b|one\b|ufo|uk\b|uni(?:[cfqstv]|on)|unanim|us(?:[aeiu]|\b)|ut[aei]", re.IGNORECASE
)
_INITIALS = re.compile(r"[A-Z]{2,}\b")


def article(word: str) -> str:
    """``a`` or ``an``, by how the word sounds.

    Rules of a few lines: the package that knows every English word takes seconds to import.
    """
    initials = _INITIALS.match(word)
    if initials:
        return "an" if word[0] in "AEFHILMNORSX" else "a"
    vowel = word[0].lower() in "aeiou" and not _CONSONANT.match(word)
    return "an" if vowel or _SILENT_H.match(word) else "a"


def _last(prompt: str, name: str) -> re.Match[str] | None:
    """The last ``name`` in ``prompt``, with the article before it."""
    pattern = rf"(?P<article>\ban? )?\b(?P<name>{re.escape(name)})\b"
    return next(reversed(list(re.finditer(pattern, prompt, re.IGNORECASE))), None)


def with_word(prompt: str, profession: str, word: str) -> str:
    """``prompt`` with ``word`` before the profession, and the right article where one stands before it.

    "a photo of a nurse" with "old" gives "a photo of an old nurse".
    """
    last = _last(prompt, profession)
    if last is None:
        raise UserError(f"expected the profession {profession!r} in the prompt {prompt!r}: use a template with it")
    own = f"{article(word)} " if last["article"] else ""
    own = own.capitalize() if last[0][0].isupper() else own
    return f"{prompt[: last.start()]}{own}{word} {last['name']}{prompt[last.end() :]}"


def with_subject(prompt: str, subject: str) -> str | None:
    """``prompt`` about ``subject`` where it was about a person, with the right article; None where it was not.

    "a photo of a person" with "engineer" gives "a photo of an engineer".
    """
    last = _last(prompt, PERSON)
    if last is None:
        return None
    own = f"{article(subject)} " if last["article"] else ""
    return f"{prompt[: last.start()]}{own}{subject}{prompt[last.end() :]}"


@dataclass(frozen=True)
class Wordings:
    """Pairs of prompts, of the same subject each."""

    neutral: tuple[str, ...]  # without the concept, e.g. ("a photo of a person", "a photo of a nurse")
    positive: tuple[str, ...]  # with it, e.g. ("a photo of a woman", "a photo of a female nurse")


def wordings(prompts: ConceptPrompts, subjects: Sequence[str] = ()) -> Wordings:
    """The prompts of a concept for each of ``subjects``, e.g. professions; without subjects its own.

    The neutral prompt takes a subject in the place of "person"; so does the positive one, or else the concept's
    ``adjective`` goes before the subject. "person" stands for the concept's own prompts. Where they say nothing of a
    person, the concept has only these: ``warn_of_unsaid`` tells. Subjects are in lower case where a model learnt so.
    """
    pairs = [_of(prompts, subject) for subject in subjects or (PERSON,)]
    if None in pairs:
        pairs = [_of(prompts, PERSON)]
    neutral, positive = zip(*(pair for pair in pairs if pair is not None), strict=True)
    return Wordings(neutral, positive)


def warn_of_unsaid(prompts: ConceptPrompts, subjects: Sequence[str]) -> None:
    """Tell where a concept cannot be said of all ``subjects``, and is learnt from its own prompts alone."""
    if None in [_of(prompts, subject) for subject in subjects]:
        log.warning(
            "%r and %r say nothing of a person: learnt from these prompts alone, not from subjects",
            prompts.neutral,
            prompts.positive,
        )


def _of(prompts: ConceptPrompts, subject: str) -> tuple[str, str] | None:
    if subject == PERSON:
        return prompts.neutral, prompts.positive
    neutral = with_subject(prompts.neutral, subject)
    if neutral is None:
        return None
    adjective = prompts.adjective
    positive = with_word(neutral, subject, adjective) if adjective else with_subject(prompts.positive, subject)
    return None if positive is None else (neutral, positive)
