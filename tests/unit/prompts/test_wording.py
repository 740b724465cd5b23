from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from hspace_exp.errors import UserError
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.wording import Wordings, article, warn_of_unsaid, with_subject, with_word, wordings


@pytest.mark.parametrize(
    ("prompt", "profession", "word", "expected"),
    [
        ("a photo of a nurse", "nurse", "female", "a photo of a female nurse"),
        ("a photo of a nurse", "nurse", "old", "a photo of an old nurse"),
        ("an image of an attendant", "attendant", "young", "an image of a young attendant"),
        ("an image of an analyst", "analyst", "asian", "an image of an asian analyst"),
        ("a photo of a successful ceo", "CEO", "old", "a photo of a successful old ceo"),
        (
            "a photo of a construction worker",
            "construction worker",
            "female",
            "a photo of a female construction worker",
        ),
        ("A nurse, smiling", "nurse", "old", "An old nurse, smiling"),
        ("a photo of a cook as a cook", "cook", "old", "a photo of a cook as an old cook"),
    ],
)
def test_the_word_stands_before_the_profession(prompt: str, profession: str, word: str, expected: str) -> None:
    assert with_word(prompt, profession, word) == expected


def test_a_prompt_without_its_profession_is_refused() -> None:
    with pytest.raises(UserError, match="a cookie"):
        with_word("a photo of a cookie", "cook", "old")


@pytest.mark.parametrize(
    ("prompt", "subject", "expected"),
    [
        ("a photo of a person", "engineer", "a photo of an engineer"),
        ("A person in a forest", "nurse", "a nurse in a forest"),
        ("a photo of an old person", "construction worker", "a photo of an old construction worker"),
        ("a photo of a personal computer", "nurse", None),
        ("a photo of a woman", "nurse", None),
    ],
)
def test_the_subject_stands_where_the_person_stood(prompt: str, subject: str, expected: str | None) -> None:
    assert with_subject(prompt, subject) == expected


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ("an", "attendant analyst engineer old hourly hour honest heir honorary umbrella unusual uninsured undertaker"),
        ("an", "unimpressed usher ugly asian MRI HR FBI LED"),
        (
            "a",
            "nurse ceo CEO one-eyed university user useful european unicorn utility unique UFO UK helpful hotel house",
        ),
    ],
)
def test_the_article_goes_by_the_sound(expected: str, words: str) -> None:
    assert {word: article(word) for word in words.split()} == dict.fromkeys(words.split(), expected)


WOMAN = ConceptPrompts(positive="a photo of a woman", neutral="a photo of a person", words="woman")
OLD = ConceptPrompts(positive="a photo of an old person", neutral="a photo of a person", words="old")


def test_a_person_shows_the_concept_by_its_own_prompts() -> None:
    assert wordings(WOMAN) == Wordings(("a photo of a person",), ("a photo of a woman",)) == wordings(WOMAN, ["person"])


def test_subjects_take_the_place_of_the_person_or_the_adjective_goes_before_them() -> None:
    neutral = ("a photo of an engineer", "a photo of a person")
    assert wordings(OLD, ["engineer", "person"]) == Wordings(
        neutral, ("a photo of an old engineer", "a photo of an old person")
    )
    assert wordings(replace(WOMAN, adjective="female"), ["engineer", "person"]) == Wordings(
        neutral, ("a photo of a female engineer", "a photo of a woman")
    )


@pytest.mark.parametrize("prompts", [WOMAN, ConceptPrompts(positive="a red house", neutral="a house", words="red")])
def test_what_says_nothing_of_a_person_keeps_to_its_own_prompts_and_tells_so(
    prompts: ConceptPrompts, caplog: pytest.LogCaptureFixture
) -> None:
    assert wordings(prompts, ["person", "nurse"]) == wordings(prompts)
    with caplog.at_level(logging.WARNING):
        warn_of_unsaid(prompts, [])
        warn_of_unsaid(prompts, ["person"])
        warn_of_unsaid(OLD, ["person", "nurse"])
        assert not caplog.text
        warn_of_unsaid(prompts, ["person", "nurse"])
    assert "learnt from these prompts alone" in caplog.text
