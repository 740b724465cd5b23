from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest
import torch

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError
from hspace_exp.methods.base import Method
from hspace_exp.methods.focused import Focus
from hspace_exp.methods.frequency import LowFrequency, haar_lowpass
from hspace_exp.methods.learning import OnPolicy, Training
from hspace_exp.methods.lwim import Localised
from hspace_exp.methods.score_matching import ScoreMatching
from hspace_exp.methods.sdid import Denoising
from hspace_exp.methods.steering import AddedVector, Application, UneditedRuns, Window, guidance_factor
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.plan import Item

ADAM = partial(torch.optim.Adam, lr=0.1)


def test_a_method_needs_what_its_training_learns_from() -> None:
    assert Method("original", 0.0, "both").needs == frozenset()
    assert Method("sdid", 1.0, "conditional", Training(Denoising(), ADAM)).needs == {"images"}
    assert Method("lwim", 1.0, "both", Training(Localised(), ADAM)).needs == {"images", "maps"}
    runs = Training(ScoreMatching(), ADAM, on_policy=OnPolicy(("positive",)), presence=True)
    assert Method("focused", 1.0, "both", runs).needs == {"positive"}


def test_only_the_unedited_method_edits_nothing() -> None:
    assert not Method("original", 0.0, "both").edits
    assert Method("sdid", 1.0, "both", Training(Denoising(), ADAM)).edits
    assert Method("other", 1.0, "both", edit=Focus()).keeps
    assert not Method("other", 1.0, "both", edit=Focus(keep=0)).keeps


def test_a_strength_is_one_number_or_one_a_concept() -> None:
    assert Method("x", 2.0, "both").strengths(["female", "male"]) == {"female": 2, "male": 2}
    own = Method("x", {"female": 1.0, "male": 3.0}, "both")
    assert own.strengths(["female", "male"]) == {"female": 1, "male": 3}
    with pytest.raises(UserError, match="old"):
        own.strengths(["old"])


def test_the_factor_multiplies_strengths_however_they_are_given() -> None:
    half = Method("x", {"female": 1.0, "male": 3.0}, "both", factor=0.5)
    assert half.strengths(["female", "male"]) == {"female": 0.5, "male": 1.5}
    assert replace(half, strength=2.0).strengths(["old"]) == {"old": 1.0}
    with pytest.raises(UserError, match="no strength yet"):
        Method("x", "auto", "both", factor=0.5).strengths(["old"])


def test_what_is_added_is_multiplied_by_the_factor_once(tiny_backbone: Backbone) -> None:
    vector = torch.randn(tiny_backbone.h_shape, generator=torch.Generator().manual_seed(0))
    female = Concept(vector, "female", "gender", "tiny", "r", tiny_backbone.h_shape, "x")
    prompts = {"female": ConceptPrompts("a photo of a woman", "a photo of a person", "woman")}
    items, h = [Item("a photo of a nurse", "nurse", 0, "female")], torch.zeros(1, *tiny_backbone.h_shape)
    edit = Method("x", 3.0, "both", factor=0.5).apply(prompts, {"female": female}, scale=7.0)
    with edit(tiny_backbone, items, False).hooks(0.0):
        (hook,) = tiny_backbone.unet.mid_block._forward_hooks.values()
        torch.testing.assert_close(hook(None, (), h)[0], 1.5 * vector)


class Told:
    """An edit that gives back what it is given."""

    keeps = composes = True

    def steer(self, *given: object) -> Any:  # noqa: ANN401
        """The application, the model, the items and whether they are guided."""
        return given


def concept(name: str, attribute: str) -> Concept:
    return Concept(torch.ones(1, 1, 1), name, attribute, "m", "r", (1, 1, 1), "x")


def test_an_edit_is_told_all_that_it_is_to_apply() -> None:
    prompts, old = {name: ConceptPrompts() for name in ("female", "male")}, {"old": ConceptPrompts()}
    concepts = {
        name: concept(name, group) for name, group in (("female", "g"), ("male", "g"), ("old", "a"), ("x", "b"))
    }
    low, runs = LowFrequency(0.5, "original", haar_lowpass), UneditedRuns()
    method = Method("x", {"female": 1.0, "male": 3.0}, "conditional", edit=Told(), window=(0.25, 0.5), factor=0.5)
    edit = method.apply(prompts, concepts, {"age": old}, low, scale=3.0, runs=runs)
    backbone, items = cast(Backbone, "the model"), [Item("p", "nurse", 0, "male")]
    application, *rest = cast(Any, edit(backbone, items, True))
    assert rest == [backbone, items, True]
    own, kept = ({name: concepts[name] for name in names} for names in (prompts, old))
    expected = Application(
        prompts,
        own,
        {"female": 1.5, "male": 4.5},
        "conditional",
        {"age": kept},
        LowFrequency(1.5, "original", haar_lowpass),
        Window(0.25, 0.5),
        3.0,
    )
    assert application == replace(expected, runs=runs)
    assert application.runs is runs
    plain = cast(Any, replace(method, window=(0.0, 1.0), factor=1.0).apply(prompts, concepts)(backbone, items, False))[
        0
    ]
    assert plain == Application(prompts, own, {"female": 1.0, "male": 3.0}, "conditional")


@pytest.mark.parametrize(
    ("branch", "low_branch", "strength", "weight"),
    [
        ("conditional", None, 6, 1.5),
        ("conditional", "both", 6, 0.5),
        ("both", None, 2, 0.5),
        ("both", "conditional", 2, 1.5),
    ],
)
def test_the_scale_multiplies_what_enters_the_conditional_half_alone(
    branch: str, low_branch: str | None, strength: float, weight: float
) -> None:
    low, own = LowFrequency(0.5, "current", haar_lowpass, low_branch), {"female": concept("female", "gender")}
    method = Method("x", 2.0, branch, window=(0.25, 0.5))
    edit = method.apply({"female": ConceptPrompts()}, own, frequency=low, scale=3.0)
    expected = replace(low, weight=weight)
    assert edit == AddedVector(
        {"female": own["female"].vector}, {"female": strength}, branch, expected, Window(0.25, 0.5)
    )
    edit = replace(method, edit=Told()).apply({"female": ConceptPrompts()}, own, frequency=low, scale=3.0)
    application = cast(Any, edit(cast(Backbone, None), [], True))[0]
    assert (application.strength, application.frequency) == ({"female": strength}, expected)
    assert application.scale == (3.0 if branch == "conditional" else 1.0)


def test_a_method_without_an_edit_adds_vectors_of_what_is_asked_for() -> None:
    own = {name: concept(name, "gender") for name in ("female", "male")}
    edit = Method("x", 2.0, "both").apply({"male": ConceptPrompts()}, own)
    assert edit == AddedVector({"male": own["male"].vector}, {"male": 2.0}, "both")


@pytest.mark.parametrize(
    ("stated", "used", "factor"),
    [
        (3.0, 3.0, 1.0),
        (3.0, 1.5, 4**0.4),
        (3.0, 7.5, (2 / 6.5) ** 0.4),
        (1.25, 9.0, 32**-0.4),  # 32 = 8 / 0.25, which is 2 to the power of 5
        (1.0, 9.0, 0.25),  # as at 1.25
        (9.0, 0.0, 4.0),
    ],
)
def test_strengths_follow_guidance(stated: float, used: float, factor: float) -> None:
    assert guidance_factor(stated, used) == pytest.approx(factor)
    assert guidance_factor(used, stated) == pytest.approx(1 / factor)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Method("x", 1.0, "all"), "conditional"),
        (lambda: Training(Denoising(), ADAM, timesteps=(500, 100)), "timesteps"),
        (lambda: Training(ScoreMatching(), ADAM, presence=True), "on_policy"),
        (lambda: Training(Localised(), ADAM, on_policy=OnPolicy()), "attribute maps"),
        (lambda: Method("x", 1.0, "both", window=(0.5, 0.5)), "window"),
        (lambda: LowFrequency(0.35, "originl", haar_lowpass), "Did you mean 'original'"),
        (lambda: LowFrequency(0.35), "frequency=haar"),
    ],
)
def test_nonsense_is_refused(make: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()  # type: ignore[operator]
