"""The parts of the focused edit against cases worked by hand, in which all numbers differ."""

from __future__ import annotations

import math

import pytest
import torch

from hspace_exp.concepts.concept import Concept
from hspace_exp.generation.generate import sample_chunk
from hspace_exp.io.seeding import initial_noise
from hspace_exp.methods.base import Method
from hspace_exp.methods.focused import Focus, adaptive_strength, kept_addition
from hspace_exp.methods.steering import Application
from hspace_exp.models.attention_gate import AttentionGate, open_attention_gate
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.plan import Item

SAMPLING = Sampling(4, lambda scheduler: make_scheduler(scheduler, "native"), chunk_size=8)
CPU = torch.device("cpu")
AXES = {"gender": ("female", "male"), "skin_tone": ("dark", "light"), "age": ("old", "young")}
PROMPTS = {
    "female": ConceptPrompts(positive="a photo of a woman", words="woman"),
    "male": ConceptPrompts(positive="a photo of a man", words="man"),
}


def on_axes(*groups: str) -> dict[str, Concept]:
    """Concepts with vectors and means at +1 and -1 of an axis each, so that the score of the first is h there."""
    made = {}
    for axis, (group, names) in enumerate(AXES.items()):
        for name, sign in zip(names, (1.0, -1.0), strict=True):
            vector = torch.zeros(3, 1, 1)
            vector[axis] = sign
            if group in groups:
                made[name] = Concept(vector, name, group, "m", "r", (3, 1, 1), "focused", presence=vector.clone())
    return made


def probability(score: float, sharpness: float) -> float:
    """Softmax of two opposite scores."""
    return 1 / (1 + math.exp(-2 * sharpness * score))


def test_adaptive_strength_is_whole_up_to_a_half_and_falls_to_nothing() -> None:
    found = adaptive_strength(torch.tensor([0.0, 0.5, 0.6, 0.95, 1.0]))
    torch.testing.assert_close(found, torch.tensor([1.0, 1.0, 0.8, 0.1, 0.0]))


def test_what_is_kept_is_added_not_taken_away() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 2.0]])[:, :, None, None]
    found = kept_addition(torch.tensor([[0.25, 0.75], [0.9, 0.1]]), vectors, 0.8, torch.tensor([0.5, 1.0]))
    torch.testing.assert_close(found[:, :, 0, 0], torch.tensor([[0.1, 0.6], [0.72, 0.16]]))


def test_a_composition_adds_each_part_by_its_own_strength_and_keeps_by_the_largest() -> None:
    strength = {"female": 3.0, "male": 9.0, "dark": 2.0, "light": 9.0}
    asked, kept = on_axes("gender", "skin_tone"), {"age": on_axes("age")}
    application = Application({}, asked, strength, "conditional", kept)
    focus = Focus(keep=0.8, sharpness=2.0, keep_sharpness=1.5)
    h_0 = torch.tensor([0.3, 0.1, -0.2])[None, :, None, None]
    found, added = focus.additions(application, [Item("p", "nurse", 0, "female+dark")], CPU)(h_0)
    female, dark = (2 * (1 - probability(score, 2.0)) for score in (0.3, 0.1))
    assert female < 0.7 * dark  # which is what tells the largest from the smallest
    old = probability(-0.2, 1.5)
    expected = [3.0 * female, 2.0 * dark, 0.8 * dark * (old - (1 - old))]
    torch.testing.assert_close(added[0, :, 0, 0], torch.tensor(expected))
    torch.testing.assert_close(found, torch.tensor([dark]))


def test_who_is_asked_for_nothing_gets_nothing() -> None:
    application = Application({}, on_axes("gender"), 3.0, "conditional", {"age": on_axes("age")})
    items = [Item("p", "nurse", 0, ""), Item("p", "nurse", 1, "male")]
    found, added = Focus(keep=1.0, sharpness=2.0).additions(application, items, CPU)(torch.full((2, 3, 1, 1), 0.2))
    assert (found[0], added[0].abs().max()) == (0, 0)
    assert found[1] == 1  # h shows the other concept
    assert added[1, 0, 0, 0] == -3


def focused(backbone: Backbone, **parts: object) -> Focus:
    return Focus(**{"keep": 0.0, "adaptive": False, "gate": 0.6, **parts})  # type: ignore[arg-type]


def application(backbone: Backbone, strength: float) -> Application:
    made = {}
    for seed, name in enumerate(PROMPTS):
        random = torch.Generator().manual_seed(seed)
        vector = torch.randn(backbone.h_shape, generator=random)
        made[name] = Concept(vector, name, "gender", "m", "r", backbone.h_shape, "focused", presence=vector.clone())
    return Application(PROMPTS, made, strength, "conditional")


@pytest.mark.parametrize("foresight", [False, True])
def test_the_gate_is_read_from_the_conditional_half_of_the_unedited_runs(
    tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch, foresight: bool
) -> None:
    items = [Item("a photo of a nurse", "nurse", i, name) for i, name in enumerate(PROMPTS)]
    made: list[AttentionGate | None] = []
    honest = Focus.open_gate

    def noted(self: Focus, *given: object) -> AttentionGate | None:
        made.append(honest(self, *given))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(Focus, "open_gate", noted)
    focus, of = focused(tiny_backbone, foresight=foresight), application(tiny_backbone, 8.0)
    sample_chunk(tiny_backbone, SAMPLING, items, 0, lambda *given: focus.steer(of, *given))
    (gate,) = made

    noise = torch.stack([initial_noise(item.prompt, i, tiny_backbone.latent_shape, 0) for i, item in enumerate(items)])
    embeds = tiny_backbone.encode_prompts([item.prompt for item in items])
    heats = []
    for rows in (range(2, 4), range(2)):  # of [unconditional; conditional]
        plain = honest(focus, of, tiny_backbone, rows)
        assert plain is not None
        SAMPLING(tiny_backbone, noise, embeds, lambda done, plain=plain: open_attention_gate(tiny_backbone.unet, plain))
        heats.append(plain.heat)
    assert gate is not None
    assert gate.heat is not None
    torch.testing.assert_close(gate.heat, heats[0], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(gate.heat, heats[1], rtol=1e-3)


def test_foresight_edits_from_a_tenth_of_the_strength_on(
    tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = torch.tensor([0.09, 0.1, 0.2, 1.0])
    total = torch.randn(4, *tiny_backbone.h_shape, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(Focus, "additions", lambda *given: lambda h_0: (needed, total))
    method = Method("focused", 1.0, "conditional", edit=focused(tiny_backbone, foresight=True, gate=None))
    items = [Item("a photo of a nurse", "nurse", i, "female") for i in range(4)]
    plain = sample_chunk(tiny_backbone, SAMPLING, items, 0, None)
    found = sample_chunk(tiny_backbone, SAMPLING, items, 0, method.apply(PROMPTS, {}))
    assert [torch.equal(a, b) for a, b in zip(found, plain, strict=True)] == [True, False, False, False]
