"""What an edit makes is on the model's device. ``meta`` stands for a GPU: its tensors mix with those of no other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import nn

from hspace_exp.concepts.concept import Concept
from hspace_exp.methods.focused import Focus, Presence
from hspace_exp.methods.frequency import LowFrequency, fft_lowpass, haar_lowpass
from hspace_exp.methods.lwim import m
from hspace_exp.methods.steering import AddedVector, Application, Steering, targets_of
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.plan import Item
from hspace_rivals.h_guidance import HGuidance, LinearClassifier

META, SHAPE = torch.device("meta"), (2, 4, 4)
ITEMS = [Item("p", "nurse", 0, "female"), Item("p", "nurse", 1, "female+old"), Item("p", "nurse", 2, "")]
GROUPS = {"female": "gender", "male": "gender", "old": "age", "young": "age"}
TERM = LowFrequency(0.5, "original", fft_lowpass)


def concepts(*names: str) -> dict[str, Concept]:
    levels = {"classifier": {"scale": [1.0, 2.0], "bias": [0.0, 0.5]}}
    made = {}
    for k, name in enumerate(names):
        vector = torch.full(SHAPE, float(k))
        of = ("m", "r", SHAPE, "focused")
        made[name] = Concept(vector, name, GROUPS[name], *of, hyperparameters=levels, presence=vector.clone())
    return made


@pytest.fixture
def backbone() -> Backbone:
    unet = nn.Module()
    unet.mid_block = nn.Identity()
    return cast(Backbone, SimpleNamespace(unet=unet, device=META, h_shape=SHAPE))


def check(backbone: Backbone, steering: Steering, samples: int) -> None:
    h = torch.zeros(2 * samples, *SHAPE, device=META)
    with steering.hooks(0.0):
        found = backbone.unet.mid_block(h)
    assert (found.device, found.shape) == (META, h.shape)


def test_filters_and_attenuation() -> None:
    h = torch.zeros(1, 2, 5, 7, device=META)
    for found in (haar_lowpass(h), fft_lowpass(h), m(h, 10.0)):
        assert (found.device, found.shape) == (META, h.shape)


def test_targets_presence_and_classifier() -> None:
    own = concepts("female", "old")
    found = targets_of(ITEMS, {name: concept.vector for name, concept in own.items()}, 2.0, META)
    assert [some.device for some in found] == [META, META]
    presence, classifier = (kind.of(list(own.values()), META) for kind in (Presence, LinearClassifier))
    parts = (presence.vectors, presence.means, classifier.weights, classifier.scale, classifier.bias)
    assert {some.device for some in parts} == {META}


def test_added_vectors(backbone: Backbone) -> None:
    vectors = {name: concept.vector for name, concept in concepts("female", "old").items()}
    check(backbone, AddedVector(vectors, 2.0, "conditional", TERM)(backbone, ITEMS, True), 6)


def test_focused_additions_and_edit(backbone: Backbone) -> None:
    kept = {"age": concepts("old", "young")}
    of = Application({}, concepts("female", "male"), 2.0, "conditional", kept, TERM)
    items = [ITEMS[0], ITEMS[2]]
    for some in Focus().additions(of, items, META)(torch.zeros(2, *SHAPE, device=META)):
        assert some.device == META
    check(backbone, Focus(gate=None).steer(of, backbone, items, True), 4)


def test_h_guidance(backbone: Backbone) -> None:
    own = concepts("female", "male")
    of = Application(dict.fromkeys(own, ConceptPrompts()), own, 2.0, "both", frequency=TERM)
    check(backbone, HGuidance().steer(of, backbone, [ITEMS[0], ITEMS[2]], True), 4)
