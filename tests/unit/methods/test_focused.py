from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import pytest
import torch

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError
from hspace_exp.generation.generate import sample_chunk
from hspace_exp.methods.base import Method
from hspace_exp.methods.focused import Focus, Presence
from hspace_exp.methods.steering import AddedVector, Edit, Window, strength_of, targets_of
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.plan import Item

SAMPLING = Sampling(4, lambda scheduler: make_scheduler(scheduler, "native"), chunk_size=8)
PROMPTS = {
    "female": ConceptPrompts(positive="a photo of a woman", neutral="a photo of a person", words="woman"),
    "male": ConceptPrompts(positive="a photo of a man", neutral="a photo of a person", words="man"),
}
ITEMS = [
    Item("a photo of a nurse", "nurse", 0, "female"),
    Item("a photo of a doctor", "doctor", 0, "male"),
    Item("a photo of a doctor", "doctor", 1, ""),
]


def concepts(backbone: Backbone, *names: str) -> dict[str, Concept]:
    made = {}
    for k, name in enumerate(names):
        random = torch.Generator().manual_seed(k)
        vector, presence = (torch.randn(backbone.h_shape, generator=random) for _ in range(2))
        made[name] = Concept(
            vector, name, "gender", backbone.name, backbone.revision, backbone.h_shape, "focused", presence=presence
        )
    return made


def focused(backbone: Backbone, strength: float = 3.0, window: tuple[float, float] = (0, 1), **parts: object) -> Edit:
    off: dict[str, object] = {"gate": None, "hold": None, "adaptive": False, "keep": 0.0}
    focus = Focus(**{**off, **parts})  # type: ignore[arg-type]
    method = Method("focused", strength, "conditional", edit=focus, window=window)
    keep = {"age": dict.fromkeys(("young", "old"), ConceptPrompts())}
    return method.apply(PROMPTS, concepts(backbone, "female", "male", "young", "old"), keep)


def images(backbone: Backbone, edit: object) -> torch.Tensor:
    return sample_chunk(backbone, SAMPLING, ITEMS, 0, edit)  # type: ignore[arg-type]


def test_without_its_parts_the_focused_edit_is_the_added_vector(tiny_backbone: Backbone) -> None:
    vectors = {name: concept.vector for name, concept in concepts(tiny_backbone, "female", "male").items()}
    added = images(tiny_backbone, AddedVector(vectors, 3.0, "conditional"))
    torch.testing.assert_close(images(tiny_backbone, focused(tiny_backbone)), added, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("part", [{"gate": 0.9}, {"hold": 0.5}, {"adaptive": True}, {"keep": 2.0}])
def test_each_part_acts_on_what_is_asked_for_and_leaves_the_rest(tiny_backbone: Backbone, part: dict) -> None:
    plain = images(tiny_backbone, None)
    without, with_part = (
        images(tiny_backbone, focused(tiny_backbone)),
        images(tiny_backbone, focused(tiny_backbone, **part)),
    )
    assert (with_part[:2] - without[:2]).abs().max() > 1e-3
    torch.testing.assert_close(with_part[2], plain[2], rtol=1e-4, atol=1e-4)


def test_strength_zero_changes_nothing_even_when_h_is_held(tiny_backbone: Backbone) -> None:
    nothing = images(tiny_backbone, focused(tiny_backbone, 0.0, gate=0.5, hold=0.5, adaptive=True))
    torch.testing.assert_close(nothing, images(tiny_backbone, None), rtol=1e-4, atol=1e-4)


def test_a_fully_held_h_with_a_shut_window_is_the_unedited_run(tiny_backbone: Backbone) -> None:
    late = focused(tiny_backbone, window=(0.99, 1.0), hold=1.0)
    torch.testing.assert_close(images(tiny_backbone, late), images(tiny_backbone, None), rtol=1e-4, atol=1e-4)


def test_methods_make_the_edit_with_their_own_strength_and_window(tiny_backbone: Backbone) -> None:
    method = Method("focused", {"female": 2.0, "male": 1.0}, "both", edit=Focus(), window=(0.25, 0.75))
    own = concepts(tiny_backbone, "female", "male")
    edit = method.apply(PROMPTS, own)
    assert isinstance(edit, partial)
    (application,) = edit.args
    assert application.strength == {"female": 2.0, "male": 1.0}
    assert (application.window, application.branch) == (Window(0.25, 0.75), "both")


def test_windows() -> None:
    window = Window(0.25, 0.75)
    assert [done in window for done in (0.0, 0.25, 0.5, 0.75)] == [False, True, True, False]
    with pytest.raises(UserError, match="0 to 2"):
        Window(0, 2)


def test_an_added_vector_outside_its_window_leaves_the_unet_alone(tiny_backbone: Backbone) -> None:
    vectors = {name: concept.vector for name, concept in concepts(tiny_backbone, "female", "male").items()}
    steering = AddedVector(vectors, 1.0, "both", window=Window(0.5, 1.0))(tiny_backbone, ITEMS, True)
    assert isinstance(steering.hooks(0.0), nullcontext)
    assert not isinstance(steering.hooks(0.5), nullcontext)


def test_targets_and_strengths(tiny_backbone: Backbone) -> None:
    vectors = {"female": torch.ones(2, 1, 1), "male": -torch.ones(2, 1, 1)}
    found, strength = targets_of(ITEMS, vectors, {"female": 2.0, "male": 0.5}, torch.device("cpu"))
    assert strength.tolist() == [2.0, 0.5, 0.0]
    assert found[:, 0, 0, 0].tolist() == [1.0, -1.0, 0.0]
    assert strength_of(1.5, "female") == 1.5
    with pytest.raises(UserError, match="Did you mean 'male'"):
        strength_of({"female": 1.0, "male": 2.0}, "mal")
    with pytest.raises(UserError, match="Did you mean 'female'"):
        targets_of([Item("p", "nurse", 0, "femal")], vectors, 1.0, torch.device("cpu"))


def test_presence_of_two_is_a_linear_readout_between_their_means() -> None:
    random = torch.Generator().manual_seed(4)
    vectors, means = (torch.randn(2, 3, 2, 2, generator=random, dtype=torch.float64) for _ in range(2))
    presence = Presence(vectors, means, sharpness=2.0)
    middle = means.mean(0, keepdim=True)
    torch.testing.assert_close(
        presence(torch.cat([means, middle]))[:, 0], torch.tensor([4.0, -4.0, 0.0]).double().sigmoid()
    )
    h = torch.randn(5, 3, 2, 2, generator=random, dtype=torch.float64)
    a = (vectors[0] - vectors[1]).flatten()
    by_hand = (h - middle).flatten(1) @ a / (a @ ((means[0] - means[1]) / 2).flatten())
    torch.testing.assert_close(presence.scores(h), torch.stack([by_hand, -by_hand], 1))


def test_presence_of_three_finds_the_mean_it_is_shown_and_does_not_depend_on_their_order() -> None:
    means = 5 * torch.eye(3).reshape(3, 3, 1, 1)
    presence = Presence(means.clone(), means)
    assert presence(means).argmax(1).tolist() == [0, 1, 2]
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(Presence(means[order], means[order])(means), presence(means)[:, order])


def test_presence_of_three_on_a_line_takes_no_end_for_the_middle() -> None:
    means = torch.tensor([-2.0, 0.0, 2.0]).reshape(3, 1, 1, 1)
    presence = Presence(means, means, sharpness=2.0)
    # At the left end: 1 against either, -1 and 3 for the middle, -1 and -3 for the right.
    torch.testing.assert_close(presence.scores(means[:1]), torch.tensor([[1.0, -1.0, -3.0]]))
    assert presence(means).diagonal().min() > 0.95


def test_presence_needs_groups_with_means(tiny_backbone: Backbone) -> None:
    own = concepts(tiny_backbone, "female", "male")
    with pytest.raises(UserError, match="at least two"):
        Presence.of([own["female"]], torch.device("cpu"))
    bare = Concept(own["male"].vector, "male", "gender", "m", "r", tiny_backbone.h_shape, "sdid")
    with pytest.raises(UserError, match="method=focused"):
        Presence.of([own["female"], bare], torch.device("cpu"))


@pytest.mark.parametrize("fixture", ["tiny_epsilon_backbone", "tiny_sdxl_backbone"])
def test_the_focused_edit_works_on_other_families(fixture: str, request: pytest.FixtureRequest) -> None:
    backbone = request.getfixturevalue(fixture)
    edit = focused(backbone, gate=0.5, hold=0.5, adaptive=True, keep=1.0)
    changed, plain = images(backbone, edit), images(backbone, None)
    assert (changed[:2] - plain[:2]).abs().max() > 1e-3
    torch.testing.assert_close(changed[2], plain[2], rtol=1e-4, atol=1e-4)
