"""A concept of one's own from words alone: a prompt with it and a prompt without it."""

from __future__ import annotations

import difflib
import re
from typing import Any

from hspace_exp.errors import UserError

KEYS = ("positive", "neutral", "words", "concept")
_ARTICLES = ("a", "an", "the")


def take_own_concept(attribute: dict[str, Any]) -> None:
    """Turn an attribute's ``positive`` and ``neutral`` into its ``concepts``; attributes without them stay as they are.

    Args:
        attribute: resolved node ``attribute``; the keys in ``KEYS`` are taken out of it.

    Raises:
        UserError: one of the two is missing, they do not differ, or the attribute has concepts already.
    """
    own = {key: str(attribute.pop(key, "") or "").strip() for key in KEYS}
    listed = attribute["concepts"] or attribute.get("groups")
    if listed and any(own.values()):
        raise UserError(
            f"attribute {attribute['name']!r} has its concepts already: positive and neutral are for attribute=custom"
        )
    if not listed:
        attribute["concepts"] = own_concept(own["positive"], own["neutral"], own["words"], own["concept"])


def own_concept(positive: str, neutral: str, words: str = "", name: str = "") -> dict[str, dict[str, str]]:
    """The node ``concepts`` of one concept.

    Args:
        positive: prompt with the concept, e.g. "a photo of a smiling person".
        neutral: the same prompt without it, e.g. "a photo of a person".
        words: of ``positive`` that carry it; by default those that ``neutral`` lacks.
        name: of the concept; by default its words.
    """
    if not positive or not neutral:
        given = {"attribute.positive": positive, "attribute.neutral": neutral}
        lacking = " and ".join(key for key, text in given.items() if not text)
        raise UserError(
            f"attribute=custom needs {lacking}: for example "
            'attribute.positive="a photo of a smiling person" attribute.neutral="a photo of a person"'
        )
    words = words or differing(positive, neutral)
    name = name or re.sub(r"\W+", "_", words.lower()).strip("_")
    return {name: {"positive": positive, "neutral": neutral, "words": words, "adjective": ""}}


def differing(positive: str, neutral: str) -> str:
    """The longest run of words that ``positive`` has and ``neutral`` lacks, without an article before it."""
    ours, theirs = positive.split(), neutral.split()
    blocks = difflib.SequenceMatcher(None, [w.lower() for w in theirs], [w.lower() for w in ours], autojunk=False)
    runs = [ours[start:stop] for kind, _, _, start, stop in blocks.get_opcodes() if kind in ("insert", "replace")]
    runs = [run[1:] if run and run[0].lower() in _ARTICLES else run for run in runs]
    longest = max(runs, key=len, default=[])
    if not longest:
        raise UserError(
            f"expected a positive prompt with words that the neutral one lacks, got {positive!r} and {neutral!r}: "
            "or name the words with attribute.words=…"
        )
    return " ".join(longest)
