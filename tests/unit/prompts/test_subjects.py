from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.subjects import Wordings, warn_of_unsaid, wordings

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
