from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import pytest

from hspace_exp.errors import UserError
from hspace_exp.generation.manifest import write_manifest
from hspace_exp.prompts.attributes import (
    Attribute,
    ConceptPrompts,
    Group,
    judged_by,
    kept_by,
    learnt_together,
    parts_of,
    targets,
)
from hspace_exp.prompts.plan import Item, plan

TEMPLATES = ("a photo of {a} {profession}",)


def named(*names: str) -> dict[str, ConceptPrompts]:
    return {name: ConceptPrompts(f"a photo of a {name}", "a photo of a person", name) for name in names}


AGE = Group("age", "person", named("young", "old"), {"gender": named("female", "male")})
GENDER = Group("gender", "gender", named("female", "male"), {"age": named("young", "old")})
RACE = Group("race", "person", named("white", "black", "asian"))
SKIN = Group(
    "skin_tone", "skin", named("light", "dark"), {"gender": named("female", "male"), "age": named("young", "old")}
)


def node(*groups: Group) -> dict[str, Any]:
    return {"name": "both", "part": "person", "concepts": {}, "keep": {}, "groups": {g.name: asdict(g) for g in groups}}


def test_a_plain_attribute_is_one_group_and_a_composition_several() -> None:
    plain, composed = Attribute.of(node(GENDER)["groups"]["gender"]), Attribute.of(node(SKIN, GENDER))
    assert plain == Attribute("gender", (GENDER,))
    assert plain.parts == []
    assert composed == Attribute("both", (SKIN, GENDER), is_composition=True)
    assert composed.parts == ["skin_tone", "gender"]


def test_names_must_tell_which_concept_is_meant() -> None:
    with pytest.raises(UserError, match="each concept once"):
        Attribute.of(node(GENDER, Group("sex", "gender", named("female"))))
    for wrong in ("a+b", "../a", "a,b", "-a", "", "x" * 101, "a\nb", "\u202ea"):
        for group in (Group("g", "p", named(wrong, "c")), Group("g", "p", named("c"), keep={"k": named(wrong)})):
            with pytest.raises(UserError, match="expected a name of"):
                Attribute.of(node(group))
    with pytest.raises(UserError, match="not both"):
        Attribute.of({**node(GENDER), "concepts": node(GENDER)["groups"]["gender"]["concepts"]})


@pytest.mark.parametrize("key", ["positive", "neutral", "words"])
def test_every_concept_needs_its_prompts_also_those_that_are_kept(key: str) -> None:
    for group in (GENDER, AGE):
        plain = asdict(group)
        some = plain["concepts"] if group is GENDER else plain["keep"]["gender"]
        some["female"][key] = ""
        with pytest.raises(UserError, match=r"'female' of the attribute .* needs positive, neutral and words"):
            Attribute.of(plain)


def test_targets_are_all_combinations_and_the_order_of_groups_changes_names_only() -> None:
    one, other = targets((GENDER, SKIN)), targets((SKIN, GENDER))
    assert one == ["female+light", "female+dark", "male+light", "male+dark"]
    assert [set(parts_of(name)) for name in one] == [set(parts_of(name)) for name in other]
    assert other[1] == "dark+female"
    assert targets((GENDER,)) == ["female", "male"]
    assert targets(()) == []


@pytest.mark.parametrize("groups", [(GENDER, SKIN), (RACE, GENDER), (GENDER, SKIN, RACE)])
@pytest.mark.parametrize("count", [5, 12, 24])
def test_balanced_plans_give_every_combination_the_same_share(groups: tuple[Group, ...], count: int) -> None:
    names = targets(groups)
    for assigned in ("nurse", "CEO"):
        counts = Counter(i.target for i in plan([assigned], TEMPLATES, count, names))
        shares = [counts[name] for name in names]
        assert max(shares) - min(shares) <= (1 if count % len(names) else 0)
    assert {i.target for i in plan(["nurse"], TEMPLATES, count, names, names[-1])} == {names[-1]}


@pytest.mark.parametrize("assignment", ["balanced", "random"])
def test_the_order_of_groups_does_not_change_what_an_image_is_asked_for(assignment: str) -> None:
    one, other = (
        plan(["nurse", "cook"], TEMPLATES, 20, targets(groups), assignment)
        for groups in ((GENDER, SKIN), (SKIN, GENDER))
    )
    assert [set(item.parts) for item in one] == [set(item.parts) for item in other]


def test_what_is_asked_for_is_not_kept() -> None:
    assert set(kept_by((GENDER,))) == {"age"}
    assert set(kept_by((GENDER, SKIN))) == {"age"}
    assert kept_by((GENDER, AGE)) == {}


def test_groups_are_learnt_as_when_alone_unless_their_concepts_overlap() -> None:
    assert learnt_together((SKIN, GENDER), keeps=False) == [(GENDER,), (SKIN,)]
    assert learnt_together((SKIN, GENDER), keeps=True) == [(GENDER, SKIN)]
    assert learnt_together((AGE, RACE, SKIN), keeps=True) == [(RACE,), (AGE, SKIN)]
    assert learnt_together((), keeps=True) == []


def test_manifests_tell_the_strongest_part(tmp_path: Any) -> None:
    items = [Item("a photo of a nurse", "nurse", 0, "female+dark"), Item("a photo of a nurse", "nurse", 1, "")]
    path = write_manifest(tmp_path, items, {"female": 1.0, "dark": 2.5}, True)
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    assert [(row[3], row[4]) for row in rows] == [("female+dark", "2.5"), ("", "0.0")]


def test_a_concept_alone_is_told_from_its_neutral_prompt() -> None:
    smile = Group("smile", "person", named("smiling"))
    assert judged_by((GENDER, smile)) == {
        "gender": {"female": "a photo of a female", "male": "a photo of a male"},
        "smile": {"smiling": "a photo of a smiling", "neutral": "a photo of a person"},
    }
