"""The prompts that a concept is learnt from: its own, or the same said of several subjects."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.wording import with_subject, with_word

log = logging.getLogger(__name__)

PERSON = "person"


@dataclass(frozen=True)
class Wordings:
    """Pairs of prompts, of the same subject each.

    Attributes:
        neutral: without the concept, e.g. ("a photo of a person", "a photo of a nurse").
        positive: with it, e.g. ("a photo of a woman", "a photo of a female nurse").
    """

    neutral: tuple[str, ...]
    positive: tuple[str, ...]


def wordings(prompts: ConceptPrompts, subjects: Sequence[str] = ()) -> Wordings:
    """The prompts of a concept for each of ``subjects``; without subjects its own.

    The neutral prompt takes a subject in the place of "person"; so does the positive one, or else the concept's
    ``adjective`` goes before the subject. "person" stands for the concept's own prompts. Where they say nothing of a
    person, the concept has only these: ``warn_of_unsaid`` tells.

    Args:
        prompts: of the concept; where the positive one does not say "person", it needs an ``adjective``.
        subjects: e.g. professions, in lower case where the model was trained so.
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
