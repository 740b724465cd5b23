"""A concept is applied by ``steer`` and ``generate`` as the run that made it applies it, whatever that overrode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from hspace_exp import steer
from hspace_exp.concepts.concept import Concept, load_concept
from hspace_exp.errors import UserError
from hspace_exp.generation.generate import sample_chunk
from hspace_exp.generation.request import applied, configured, edit_of, read, way_of
from hspace_exp.io.seeding import initial_noise
from hspace_exp.methods.base import Method
from hspace_exp.methods.focused import Focus
from hspace_exp.methods.frequency import LowFrequency, fft_lowpass
from hspace_exp.methods.steering import Edit
from hspace_exp.models.backbone import load_backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.pipeline.train_concept import train_concept
from hspace_exp.prompts.attributes import ConceptPrompts, Group
from hspace_exp.prompts.plan import Item

POSITIVE, NEUTRAL = "a photo of a woman", "a photo of a person"
SAID = ["a photo of a doctor", "a photo of a nurse"]
WORDS = {"female": ConceptPrompts(POSITIVE, NEUTRAL, "woman")}
PLAIN = [
    *("frequency=fft", "frequency.weight=0.5", "frequency.transform.cutoff=0.9", "+frequency.branch=both"),
    *("+method.window=[0.25,0.8]", "method.branch=both", "method.strength=1"),
]
FOCUSED = [
    *("method.edit.gate=0.9", "method.edit.hold=0.1", "method.edit.adaptive=false", "method.edit.foresight=false"),
    *("method.edit.release=false", "method.edit.keep=0.0", "method.window=[0.0,0.5]", "method.strength=1"),
]


def plainly(concept: Concept) -> Edit:
    low = LowFrequency(0.5, "original", partial(fft_lowpass, cutoff=0.9), "both")
    method = Method("sdid", 1.0, "both", window=(0.25, 0.8))
    return method.apply(WORDS, {"female": concept}, frequency=low)


def focused(concept: Concept) -> Edit:
    focus = Focus(gate=0.9, hold=0.1, adaptive=False, keep=0.0, foresight=False, release=False)
    return Method("focused", 1.0, "conditional", edit=focus, window=(0.0, 0.5)).apply(WORDS, {"female": concept})


@pytest.mark.parametrize(("method", "overrides", "by_hand"), [("sdid", PLAIN, plainly), ("focused", FOCUSED, focused)])
def test_images_of_steer_are_those_of_the_run(
    tiny_folder: Path, tmp_path: Path, method: str, overrides: list[str], by_hand: Callable[[Concept], Edit]
) -> None:
    backbone, prompts = load_backbone(tiny_folder, device="cpu", guidance_scale=6.0), {"neutral": NEUTRAL}
    given = {"method": method, "name": "female", "images": 2, "steps": 1, "num_inference_steps": 2, **prompts}
    made = train_concept(backbone, positive=POSITIVE, overrides=overrides, **given)
    vector = 3 * torch.randn(backbone.h_shape, generator=torch.Generator().manual_seed(0))
    file = replace(made, vector=vector).save(tmp_path / "female.safetensors")

    concept, items = load_concept(file), [Item(prompt, prompt, seed, "female") for seed, prompt in enumerate(SAID)]
    sample = partial(sample_chunk, backbone, Sampling(4), items, 0)
    usual = edit_of(configured(method), {"female": concept}, [Group("g", "person", WORDS)], {"female": 1.0})
    expected, other, vanilla = sample(by_hand(concept)), sample(usual), sample(None)
    assert min((expected - other).abs().max(), (expected - vanilla).abs().max()) > 0.02

    pipe = diffusers.DiffusionPipeline.from_pretrained(tiny_folder)
    pipe.set_progress_bar_config(disable=True)
    noises = [initial_noise(prompt, seed, backbone.latent_shape, 0) for seed, prompt in enumerate(SAID)]
    options = {"latents": torch.stack(noises), "num_inference_steps": 4, "guidance_scale": 6.0, "output_type": "pt"}
    with steer(pipe, {file: None}):
        torch.testing.assert_close(pipe(SAID, **options).images, expected, atol=1e-3, rtol=0)

    asked, _ = read(["a nurse"], [str(file)], device="cpu", more=["model.compile=true"])
    own = sample(edit_of(way_of([concept]), {"female": concept}, [Group("g", "person", WORDS)], {"female": 1.0}))
    torch.testing.assert_close(own, expected, atol=1e-5, rtol=0)
    told: dict[str, Any] = concept.used.applied or {}
    assert asked.method["window"] == told["method.window"] == ([0.25, 0.8] if method == "sdid" else [0.0, 0.5])
    assert asked.frequency["weight"] == told["frequency.weight"] == (0.5 if method == "sdid" else 0.0)
    if method == "focused":
        assert (asked.method["edit"]["gate"], asked.method["edit"]["sharpness"]) == (0.9, 4.0)
        changed = read(["a nurse"], [str(file)], device="cpu", more=["method.edit.gate=0.5"])[0].method["edit"]
        assert (changed["gate"], changed["hold"]) == (0.5, 0.1)
        assert read(["a nurse"], [str(file)], device="cpu", method="focused")[0].method["edit"]["gate"] == 0.3
    else:
        haar = read(["a nurse"], [str(file)], device="cpu", frequency="haar")[0]
        assert (haar.frequency["weight"], haar.method["window"]) == (0.35, [0.25, 0.8])


def concept(name: str = "female", method: str = "sdid", **how: Any) -> Concept:
    used = {"applied": {key.replace("__", "."): value for key, value in how.items()}} if how else {}
    return Concept(torch.ones(16, 4, 4), name, "gender", "tiny", "abc", (16, 4, 4), method, hyperparameters=used)


def test_files_that_say_nothing_act_as_their_method_does() -> None:
    assert applied([concept()]) == ()
    for low in (None, "none"):
        usual = way_of([concept()], low)
        assert (usual[0].edit, usual[0].window, usual[1].weight) == (None, (0.0, 1.0), 0.0)
    mixed = way_of([concept("old"), concept(method__window=[0.0, 0.5], frequency__weight=0.0)])
    assert (mixed[0].edit, list(mixed[0].window), mixed[1].weight) == (None, [0.0, 0.5], 0.0)
    assert applied([concept(method__window=[0.0, 0.5]), concept("old", "lwim")]) == ()
    assert way_of([concept(method="of_my_own", method__window=[0.0, 0.5])])[0].window == [0.0, 0.5]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"method__edit": {"_target_": "my_methods.Mine"}}, "my_methods.Mine, which is not of this package"),
        ({"method__edit": {"_target_": "haar_lowpass"}}, "haar_lowpass, which is not"),
        ({"method__edit": {"gate": 0.5}}, "None, which is not"),
        ({"frequency__transform": {"_target_": "Focus"}}, "Focus, which is not"),
        ({"method__edit": {"_target_": "Focus", "gaet": 0.5}}, "Did you mean 'gate'"),
        ({"method__edit": {"_target_": "Focus", "gate": 5.0}}, "method.edit.gate=5.0"),
        ({"method__window": [0.5, 0.5]}, "0 <= start < stop <= 1"),
        ({"method__window": [0.1]}, r"window \[start, stop\]"),
        ({"frequency__source": "elsewhere"}, "Choices: original, current"),
        ({"frequency__weight": "heavy"}, "frequency.weight=heavy"),
        ({"frequency__weight": 1.0}, "no transform"),
    ],
)
def test_what_has_no_meaning_is_one_line(how: dict[str, Any], told: str, tiny_folder: Path) -> None:
    wrong = concept(**how)
    with pytest.raises(UserError, match=told) as caught:
        way_of([wrong])
    assert "how 'female' was applied cannot be done" in str(caught.value)
    assert "\n" not in str(caught.value)
    pipe = diffusers.DiffusionPipeline.from_pretrained(tiny_folder)
    with pytest.raises(UserError, match="was applied cannot be done"):
        steer(pipe, [(wrong, 1.0)])
    steer(pipe, [(wrong, 1.0)], method="plain")


def test_concepts_of_several_ways_need_a_method(tiny_folder: Path) -> None:
    pipe = diffusers.DiffusionPipeline.from_pretrained(tiny_folder)
    some = [concept(method__window=[0.0, 0.5]), concept("old", method__window=[0.0, 0.9])]
    with pytest.raises(UserError, match="'female' and 'old' were applied in different ways"):
        steer(pipe, [(one, 1.0) for one in some])
    with pytest.raises(UserError, match="made by sdid and lwim, which differ"):
        steer(pipe, [(some[0], 1.0), (concept("old", "lwim"), 1.0)])
    steer(pipe, [(one, 1.0) for one in some], method="sdid")
