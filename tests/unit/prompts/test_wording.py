from __future__ import annotations

import pytest

from hspace_exp.errors import UserError
from hspace_exp.prompts.wording import article, with_subject, with_word


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
