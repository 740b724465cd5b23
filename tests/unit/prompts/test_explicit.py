"""Prompts that name an attribute, in many wordings; a third of them was written before the lists were tuned."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from hspace_exp.prompts.attributes import Explicit, Group
from hspace_exp.prompts.explicit import explicit_prompts, names_attribute

ROOT = Path(__file__).parents[3]


def lists(attribute: str) -> Explicit:
    node = yaml.safe_load((ROOT / "conf" / "attribute" / f"{attribute}.yaml").read_text())
    return Explicit(**node["explicit"])


def rows() -> list[dict[str, str]]:
    with (ROOT / "tests" / "assets" / "explicit_prompts.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("attribute", ["gender", "age", "skin_tone"])
def test_every_listed_prompt_is_read_as_a_person_reads_it(attribute: str) -> None:
    mine = [row for row in rows() if row["attribute"] == attribute]
    assert len(mine) >= 40
    wrong = [
        row["prompt"] for row in mine if bool(names_attribute(row["prompt"], lists(attribute))) != (row["names"] == "1")
    ]
    assert wrong == []


def test_race_is_named_as_skin_tone_is_and_by_its_own_prompts() -> None:
    race = lists("race")
    assert names_attribute("a photo of a black-race person", Explicit(race.words))
    for row in rows():
        if row["attribute"] == "skin_tone":
            assert bool(names_attribute(row["prompt"], race)) == (row["names"] == "1"), row["prompt"]


def test_what_is_found_is_told_in_order() -> None:
    assert names_attribute("She and the policeman's mother", lists("gender")) == ["she", "policeman's", "mother"]


def test_case_hyphens_and_unicode_forms_do_not_matter() -> None:
    words = ["light-skinned", "# years old"]
    for prompt in ("Light-Skinned", "light skinned", "LIGHT‑SKINNED", "ｌight-skinned"):
        assert names_attribute(f"a {prompt} doctor", Explicit(words))
    assert names_attribute("a nurse, 45 years old", Explicit(words)) == ["45 years old"]
    assert names_attribute("a twilight skinnedness", Explicit(words)) == []


def test_an_adjective_needs_a_person() -> None:
    old = Explicit(adjectives=["old"])
    assert names_attribute("an old tower and a doctor", old) == []
    assert names_attribute("a doctor in an old tower", old) == []
    assert names_attribute("an old doctor in a tower", old) == ["old"]
    assert names_attribute("an old, tired doctor", old) == ["old"]
    assert names_attribute("the doctor is old", old) == ["old"]


ADJECTIVES = [("age", "young"), ("age", "old"), ("skin_tone", "black"), ("skin_tone", "white"), ("race", "asian")]
ASKED = [
    "a photo of a {} {}", "a {} {} facing the camera", "Headshot of a {} {}, studio", "a {} smiling {} in the forest",
    "a photo of a {} successful {}", "the {1} is {0}", "a {} {} stands in the library", "{} {}s laughing",
]  # fmt: skip
OPEN = [
    "a photo of a {}", "Headshot of a {}", "a photo of a successful {}", "a {} facing an old wall", "{}, white gloves",
    "a photo of a {} in the forest", "a {} near a black car", "an old photo of a {}", "a {} painting a young tree",
]  # fmt: skip


@pytest.mark.parametrize(("attribute", "adjective"), ADJECTIVES)
def test_an_adjective_is_found_before_every_profession(attribute: str, adjective: str) -> None:
    professions = yaml.safe_load((ROOT / "conf" / "prompts" / "winobias.yaml").read_text())["professions"]
    assert len(professions) == 36
    explicit = lists(attribute)
    missed = [
        prompt
        for profession in [*professions, "person"]
        for prompt in (asked.format(adjective, profession) for asked in ASKED)
        if not names_attribute(prompt, explicit)
    ]
    assert missed == []
    left_open = [prompt.format(profession) for profession in professions for prompt in OPEN]
    assert [prompt for prompt in left_open if names_attribute(prompt, explicit)] == []


def test_neutral_phrases_are_no_names() -> None:
    his = Explicit(["his", "her"], neutral=["his or her"])
    assert names_attribute("his or her tools", his) == []
    assert names_attribute("his or her tools and his bag", his) == ["his"]


def test_of_a_composition_one_name_is_enough_and_attributes_without_lists_are_open() -> None:
    gender = Group("gender", "gender", {}, explicit=lists("gender"))
    age = Group("age", "person", {}, explicit=lists("age"))
    prompts = ["a photo of a nurse", "a photo of an old nurse", "a photo of a male nurse"]
    assert list(explicit_prompts(prompts, [gender, age])) == prompts[1:]
    assert list(explicit_prompts(prompts, [gender])) == prompts[2:]
    assert explicit_prompts(prompts, [Group("smile", "person", {})]) == {}
