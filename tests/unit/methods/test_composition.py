"""Several concepts at once: sums that no order changes, and one part alone is the single concept, bit for bit."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError
from hspace_exp.generation.generate import sample_chunk
from hspace_exp.methods.base import Method
from hspace_exp.methods.focused import Focus, Presence
from hspace_exp.methods.frequency import LowFrequency
from hspace_exp.methods.prompt import AttributeWord, prompt_with_words
from hspace_exp.methods.steering import AddedVector, Application, Edit, targets_of
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.plan import Item
from hspace_rivals.h_guidance import HGuidance

SAMPLING = Sampling(4, lambda scheduler: make_scheduler(scheduler, "native"), chunk_size=8)
GROUPS = {"gender": ("female", "male"), "skin_tone": ("light", "dark")}
PROMPTS = {
    "female": ConceptPrompts("a photo of a woman", words="woman", adjective="female"),
    "male": ConceptPrompts("a photo of a man", words="man", adjective="male"),
    "light": ConceptPrompts("a photo of a light skinned person", words="light"),
    "dark": ConceptPrompts("a photo of a dark skinned person", words="dark", adjective="dark-skinned"),
    "old": ConceptPrompts("a photo of an old person", words="old"),
}


def items(*targets: str) -> list[Item]:
    return [Item("a photo of a nurse", "nurse", i, target) for i, target in enumerate(targets)]


def concepts(backbone: Backbone, *groups: str) -> dict[str, Concept]:
    made = {}
    for group in groups:
        for name in GROUPS[group]:
            random = torch.Generator().manual_seed(sum(map(ord, name)))
            vector, presence = (torch.randn(backbone.h_shape, generator=random) for _ in range(2))
            made[name] = Concept(
                vector, name, group, backbone.name, backbone.revision, backbone.h_shape, "focused", presence=presence
            )
    return made


def added(backbone: Backbone, strength: float | dict[str, float], *groups: str) -> AddedVector:
    vectors = {name: concept.vector for name, concept in concepts(backbone, *groups).items()}
    return AddedVector(vectors, strength, "conditional")


def application(backbone: Backbone, strength: float | dict[str, float], *groups: str) -> Application:
    own = concepts(backbone, *groups)
    return Application({name: PROMPTS[name] for name in own}, own, strength, "conditional")


def focused(backbone: Backbone, strength: float | dict[str, float], *groups: str, **parts: object) -> Edit:
    focus = Focus(**{"gate": None, "keep": 0.0, **parts})  # type: ignore[arg-type]
    return partial(focus.steer, application(backbone, strength, *groups))


def images(backbone: Backbone, edit: Edit | None, *targets: str) -> torch.Tensor:
    return sample_chunk(backbone, SAMPLING, items(*targets), 0, edit)


@pytest.mark.parametrize("make", [added, focused])
def test_one_part_of_weight_one_alone_is_the_single_concept_bit_for_bit(tiny_backbone: Backbone, make: object) -> None:
    single = images(tiny_backbone, make(tiny_backbone, 3.0, "gender"), "female", "male")  # type: ignore[operator]
    weights = {"female": 3.0, "male": 3.0, "light": 0.0, "dark": 0.0}
    both = make(tiny_backbone, weights, "gender", "skin_tone")  # type: ignore[operator]
    assert torch.equal(images(tiny_backbone, both, "female+light", "male+dark"), single)
    assert torch.equal(images(tiny_backbone, both, "female", "male"), single)


@pytest.mark.parametrize("make", [added, focused])
def test_the_order_of_groups_and_parts_changes_nothing(tiny_backbone: Backbone, make: object) -> None:
    one = make(tiny_backbone, 2.0, "gender", "skin_tone")  # type: ignore[operator]
    other = make(tiny_backbone, 2.0, "skin_tone", "gender")  # type: ignore[operator]
    assert torch.equal(images(tiny_backbone, one, "female+dark"), images(tiny_backbone, other, "dark+female"))


@pytest.mark.parametrize("make", [added, focused])
def test_weights_of_zero_are_the_unedited_model(tiny_backbone: Backbone, make: object) -> None:
    nothing = images(tiny_backbone, make(tiny_backbone, 0.0, "gender", "skin_tone"), "female+dark", "male+light")  # type: ignore[operator]
    torch.testing.assert_close(nothing, images(tiny_backbone, None, "", ""), rtol=1e-4, atol=1e-4)


def test_vectors_of_a_composition_are_weighted_sums() -> None:
    vectors = {"female": torch.tensor([1.0, 0, 0]), "dark": torch.tensor([0, 2.0, 0]), "old": torch.tensor([0, 0, 4.0])}
    vectors = {name: vector[:, None, None] for name, vector in vectors.items()}
    strength = {"female": 2.0, "dark": 0.5, "old": -1.0}
    found, weights = targets_of(items("female+dark+old", "dark", ""), vectors, strength, torch.device("cpu"))
    scaled = weights[:, None] * found[:, :, 0, 0]
    assert scaled.tolist() == [[2.0, 1.0, -4.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    with pytest.raises(UserError, match="Did you mean 'dark'"):
        targets_of(items("female+drak"), vectors, strength, torch.device("cpu"))


def test_each_part_of_a_focused_composition_has_the_need_of_its_own_attribute(tiny_backbone: Backbone) -> None:
    wanted = items("female+dark", "male+light")
    h = torch.randn(2, *tiny_backbone.h_shape, generator=torch.Generator().manual_seed(5))
    own = concepts(tiny_backbone, "gender", "skin_tone")
    expected = torch.zeros(2, *tiny_backbone.h_shape)
    for names in GROUPS.values():
        there = Presence.of([own[name] for name in names], torch.device("cpu"))(h)
        for row, item in enumerate(wanted):
            name = next(name for name in item.parts if name in names)
            need = min(1.0, 2 * (1 - there[row, names.index(name)].item()))
            expected[row] += need * 2.0 * own[name].vector
    of = application(tiny_backbone, 2.0, "gender", "skin_tone")
    _, found = Focus(keep=0.0).additions(of, wanted, torch.device("cpu"))(h)
    torch.testing.assert_close(found, expected)


def test_the_gate_of_a_focused_composition_looks_for_the_words_of_all_groups(tiny_backbone: Backbone) -> None:
    of = application(tiny_backbone, 1.0, "gender", "skin_tone")
    gate = Focus(gate=0.3).open_gate(of, tiny_backbone, range(2, 3))
    assert gate is not None
    assert len(gate.states) == 4


def test_words_of_a_composition_stand_before_the_profession() -> None:
    found = [prompt_with_words(items(target)[0], PROMPTS) for target in ("female+dark", "female+old")]
    assert found == ["a photo of a dark-skinned female nurse", "a photo of an old female nurse"]


def test_methods_say_whether_they_compose() -> None:
    plain = Method("sdid", 1.0, "conditional")
    assert plain.composes
    made = {
        type(edit): Method("m", 1.0, "both", edit=edit).composes for edit in (Focus(), AttributeWord(), HGuidance())
    }
    assert made == {Focus: True, AttributeWord: True, HGuidance: False}


def test_low_frequencies_of_a_composition_without_vectors(tiny_backbone: Backbone) -> None:
    method = Method("prompt", 1.0, "both", edit=AttributeWord())
    terms = (LowFrequency(0.5, "current", lambda h: h), None)
    shown = [images(tiny_backbone, method.apply(PROMPTS, {}, frequency=term), "female+dark", "") for term in terms]
    assert (shown[0][0] - shown[1][0]).abs().max() > 1e-4
    torch.testing.assert_close(shown[0][1], shown[1][1], rtol=1e-4, atol=1e-4)
