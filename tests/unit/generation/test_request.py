"""Which image is asked for what: decisions that need no model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hspace_exp.concepts.concept import Concept
from hspace_exp.config.command_line import choices
from hspace_exp.errors import UserError
from hspace_exp.generation.request import amounts, asked_groups, items_of, method_of, numbers, read, scale_of, strengths
from hspace_exp.prompts.attributes import ConceptPrompts, Explicit, Group
from hspace_exp.prompts.plan import plan

PROMPT = "a photo of a doctor"


def concept(name: str, attribute: str = "gender", method: str = "sdid", **used: float) -> Concept:
    prompts = {"positive": f"a {name} person", "neutral": "a person", "words": f"{name} word"}
    return Concept(torch.zeros(2, 1, 1), name, attribute, "tiny", "r", (2, 4, 4), method, prompts, used)


CONCEPTS = {one.name: one for one in (concept("female"), concept("male"), concept("smile", "smiling"))}
GENDER = Group("gender", "person", {"female": ConceptPrompts(), "male": ConceptPrompts()})
AGE = Group("age", "person", {"old": ConceptPrompts()})


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("3", [0, 1, 2]), ("3,5,9", [3, 5, 9]), ("7,", [7]), ("[7]", [7]), ("0", []), ("-1", []), ("many", []), ("", [])],
)
def test_seeds_are_how_many_or_which(text: str, seeds: list[int]) -> None:
    assert numbers(text) == seeds


def test_strengths_are_one_or_one_a_concept() -> None:
    assert [amounts(texts) for texts in ([], ["2"], ["female=2", "male=-1.5"], ["female:2,male:1"])] == [
        None, 2.0, {"female": 2.0, "male": -1.5}, {"female": 2.0, "male": 1.0},
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [["x"], ["female=much"], ["2", "3"], ["2", "male=1"], [""]])
def test_other_strengths_are_refused(wrong: list[str]) -> None:
    with pytest.raises(UserError, match="expected a strength"):
        amounts(wrong)


def test_concepts_are_applied_by_the_known_method_that_they_share() -> None:
    assert method_of([concept("a", method="focused"), concept("b", method="focused")]) == "focused"
    assert method_of([concept("a", method="focused"), concept("b", method="lwim")]) == "sdid"
    assert method_of([concept("a", method="of_my_own")]) == "sdid"


def test_what_is_not_asked_for_is_kept_where_it_can_be_told_apart() -> None:
    files = {**CONCEPTS, "old": concept("old", "age"), "young": concept("young", "age")}
    (gender,) = asked_groups(files, ["gender"])
    assert (gender.name, gender.part, list(gender.concepts)) == ("gender", "person", ["female", "male"])
    assert gender.concepts["male"] == ConceptPrompts("a male person", "a person", "male word")
    assert {name: list(some) for name, some in gender.keep.items()} == {"age": ["old", "young"]}  # one smile: no choice
    assert "woman" in gender.explicit.words
    male, smiling = asked_groups(files, ["smiling", "male"])
    assert (list(male.concepts), list(smiling.concepts)) == (["male"], ["smile"])
    assert list(male.keep) == list(smiling.keep) == ["age"]
    assert smiling.explicit == Explicit(words=["smile word"])


def test_all_of_the_only_attribute_is_asked_for_without_a_word() -> None:
    both = {name: CONCEPTS[name] for name in ("female", "male")}
    (gender,) = asked_groups(both, [])
    assert list(gender.concepts) == ["female", "male"]
    assert not gender.keep
    with pytest.raises(UserError, match=r"the concept files hold gender, smiling: .* --ask gender"):
        asked_groups(CONCEPTS, [])
    with pytest.raises(UserError, match="Did you mean 'smiling'"):
        asked_groups(CONCEPTS, ["male", "smilin"])


def test_a_strength_is_what_is_given_or_the_files_or_the_methods() -> None:
    files = {"a": concept("a", strength=2.0), "b": concept("b")}
    assert strengths(files, ["a", "b"], None, {"b": 7.0}) == {"a": 2.0, "b": 7.0}
    assert strengths(files, ["a", "b"], None, 3.0) == {"a": 2.0, "b": 3.0}
    assert strengths(files, ["a", "b"], 0.0, 3.0) == {"a": 0.0, "b": 0.0}
    assert strengths(files, ["b"], {"a": 1.0, "b": 3.0}, "auto") == {"b": 3.0}
    assert strengths(files, ["a"], None, "auto") == {"a": 2.0}
    with pytest.raises(UserError, match=r"the file of 'b' states no strength: give one, e.g. --strength"):
        strengths(files, ["a", "b"], None, "auto")


@pytest.mark.parametrize(
    ("stated", "factor"),
    [([3.0], (2 / 6.5) ** 0.4), ([3.0, 3], (2 / 6.5) ** 0.4), ([7.5, None], 1.0), ([None], 1.0)],
)
def test_strengths_of_files_are_brought_to_the_models_guidance(stated: list[float | None], factor: float) -> None:
    files = [concept(str(i)) if w is None else concept(str(i), guidance_scale=w) for i, w in enumerate(stated)]
    assert scale_of(files, 7.5) == pytest.approx(factor)


def test_files_of_several_guidance_scales_need_a_strength() -> None:
    with pytest.raises(UserError, match=r"at guidance scales 3 and 7\.5: give a --strength"):
        scale_of([concept("a"), concept("b", guidance_scale=3.0)], 7.5)


def test_a_fair_batch_asks_for_each_in_turn_whatever_the_seeds() -> None:
    items = items_of(["A photo, of 2 doctors!"], [9, 0, 4], [GENDER], "balanced")
    assert [(i.prompt, i.profession, i.seed_index, i.target) for i in items] == [
        ("A photo, of 2 doctors!", "a photo of 2 doctors", seed, target)
        for seed, target in ((9, "female"), (0, "male"), (4, "female"))
    ]
    assert [item.seed_index for item in items_of([PROMPT], [0, 1, 2], [GENDER], "balanced")] == [0, 1, 2]
    assert [item.target for item in items_of([PROMPT], range(3), [GENDER], "male")] == ["male"] * 3
    assert [item.target for item in items_of([PROMPT], range(2), [GENDER, AGE], "sum")] == ["female+male+old"] * 2
    drawn = [[item.target for item in items_of([PROMPT], range(40), [GENDER], "random")] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == {"female", "male"}
    of_a_run = plan([PROMPT], ["a photo"], 40, ["female", "male"], "random")
    assert drawn[0] == [item.target for item in of_a_run]  # drawn as those of a profession of that name


@pytest.mark.parametrize("name", choices("model"))
def test_concepts_can_be_asked_of_every_model(name: str, tmp_path: Path) -> None:
    file = concept("female").save(tmp_path / "female.safetensors")
    given = {"device": "cpu", "out": "${here}", "model": name, "more": ["model.compile=true"]}
    asked, concepts = read([PROMPT], [str(file)], **given)
    assert (asked.model["name"], asked.model["compile"], asked.method["name"]) == (name, True, "sdid")
    assert asked.out == "${here}"
    assert list(concepts) == ["female"]


def test_folders_are_named_after_the_prompt() -> None:
    (long,) = items_of(["x" * 39 + " y z"], [0], [GENDER], "male")
    assert long.profession == "x" * 39
    (nameless,) = items_of(["?!"], [0], [GENDER], "sum")
    assert Path(nameless.file).as_posix() == "prompt/0000.png"


def test_each_prompt_is_a_fair_batch_with_a_folder_of_its_own() -> None:
    prompts = ["a nurse!", "a nurse?", "a doctor"]
    items = items_of(prompts, [4, 7], [GENDER], "balanced")
    assert [(i.prompt, i.file, i.target) for i in items] == [
        ("a nurse!", "a_nurse/0004.png", "female"), ("a nurse!", "a_nurse/0007.png", "male"),
        ("a nurse?", "a_nurse_2/0004.png", "male"), ("a nurse?", "a_nurse_2/0007.png", "female"),
        ("a doctor", "a_doctor/0004.png", "female"), ("a doctor", "a_doctor/0007.png", "male"),
    ]  # fmt: skip
    with pytest.raises(UserError, match="a prompt is there twice"):
        items_of([PROMPT, PROMPT], [0], [GENDER], "balanced")


@pytest.mark.parametrize("seeds", [[], [1, 1], [2, -1]])
def test_seeds_are_refused_unless_each_is_there_once(seeds: list[int]) -> None:
    with pytest.raises(UserError, match="expected seeds"):
        items_of([PROMPT], seeds, [GENDER], "balanced")


@pytest.mark.parametrize("prompt", ["", "  "])
def test_a_prompt_says_something(prompt: str) -> None:
    with pytest.raises(UserError, match="the prompt is empty"):
        items_of([PROMPT, prompt], [0], [GENDER], "balanced")
