"""Concepts from words alone."""

from __future__ import annotations

import pytest

from hspace_exp.errors import UserError
from hspace_exp.prompts.attributes import OWN_KEYS, differing, with_own_concept


@pytest.mark.parametrize(
    ("positive", "neutral", "words"),
    [
        ("a photo of a smiling person", "a photo of a person", "smiling"),
        ("a photo of a person wearing glasses", "a photo of a person", "wearing glasses"),
        ("a photo of an old person", "a photo of a person", "old"),
        ("A Photo of a person in the rain", "a photo of a person", "in the rain"),
        ("a red car", "a blue car", "red"),
    ],
)
def test_the_words_that_differ_carry_the_concept(positive: str, neutral: str, words: str) -> None:
    assert differing(positive, neutral) == words


def test_names_come_from_the_words_and_may_be_given() -> None:
    given = {"positive": "a photo of a person wearing glasses", "neutral": "a photo of a person"}
    own = {"name": "custom", "concepts": {}, **given}
    assert list(with_own_concept(own)["concepts"]) == ["wearing_glasses"]
    found = with_own_concept({**own, "words": "glasses", "concept": "specs"})
    assert found == {"name": "custom", "concepts": {"specs": {**given, "words": "glasses", "adjective": ""}}}


@pytest.mark.parametrize(
    ("positive", "neutral", "message"),
    [
        ("", "a photo", "attribute.positive:"),
        ("a photo", "", "attribute.neutral:"),
        ("a photo", "a photo", "lacks no word of"),
        ("a photo of a person", "a photo of an old person", "attribute.words"),
    ],
)
def test_what_cannot_be_a_concept_is_said(positive: str, neutral: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        with_own_concept({"name": "custom", "concepts": {}, "positive": positive, "neutral": neutral})


def test_attributes_of_files_stay_as_they_are() -> None:
    attribute = {"name": "gender", "concepts": {"female": {}}} | dict.fromkeys(OWN_KEYS, "")
    assert with_own_concept({**attribute, "groups": {}}) == {"name": "gender", "concepts": {"female": {}}}
    with pytest.raises(UserError, match="attribute=custom"):
        with_own_concept({**attribute, "positive": "a smiling person"})
