from __future__ import annotations

from dataclasses import replace
from functools import partial

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
        own.strength_of("old")


def test_the_factor_multiplies_strengths_however_they_are_given() -> None:
    half = Method("x", {"female": 1.0, "male": 3.0}, "both", factor=0.5)
    assert half.strengths(["female", "male"]) == {"female": 0.5, "male": 1.5}
    assert replace(half, strength=2.0).strength_of("old") == 1.0
    with pytest.raises(UserError, match="no strength yet"):
        Method("x", "auto", "both", factor=0.5).strength_of("old")


def test_what_is_added_is_multiplied_by_the_factor_once(tiny_backbone: Backbone) -> None:
    vector = torch.randn(tiny_backbone.h_shape, generator=torch.Generator().manual_seed(0))
    female = Concept(vector, "female", "gender", "tiny", "r", tiny_backbone.h_shape, "x")
    prompts = {"female": ConceptPrompts("a photo of a woman", "a photo of a person", "woman")}
    items, h = [Item("a photo of a nurse", "nurse", 0, "female")], torch.zeros(1, *tiny_backbone.h_shape)
    edit = Method("x", 3.0, "both", factor=0.5).apply(prompts, {"female": female}, scale=7.0)
    with edit(tiny_backbone, items, False).hooks(0.0):
        (hook,) = tiny_backbone.unet.mid_block._forward_hooks.values()
        torch.testing.assert_close(hook(None, (), h)[0], 1.5 * vector)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Method("x", 1.0, "all"), "conditional"),
        (lambda: Training(Denoising(), ADAM, vector="spacial"), "Did you mean 'spatial'"),
        (lambda: Training(Denoising(), ADAM, batch_size=0), "batch_size"),
        (lambda: Training(Denoising(), ADAM, timesteps=(500, 100)), "timesteps"),
        (lambda: Training(ScoreMatching(), ADAM, presence=True), "on_policy"),
        (lambda: Training(Localised(), ADAM, on_policy=OnPolicy()), "attribute maps"),
        (lambda: Training(Denoising(), ADAM, decay="cosin"), "Did you mean 'cosine'"),
        (lambda: OnPolicy(("neutrl",)), "Did you mean 'neutral'"),
        (lambda: Method("x", 1.0, "both", window=(0.5, 0.5)), "window"),
        (lambda: Focus(keep=-1.0), "keep"),
        (lambda: LowFrequency(0.35, "originl", haar_lowpass), "Did you mean 'original'"),
        (lambda: LowFrequency(0.35), "frequency=haar"),
    ],
)
def test_nonsense_is_refused(make: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()  # type: ignore[operator]
