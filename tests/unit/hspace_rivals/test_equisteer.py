"""Cross-attention's outputs, cleared of an attribute and given one value of it, against sums worked by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from hspace_exp.config.checks import check_targets
from hspace_exp.errors import UserError
from hspace_exp.generation.generate import sample_chunk
from hspace_exp.io.seeding import LEARNING, initial_noise
from hspace_exp.methods.base import Method
from hspace_exp.methods.frequency import LowFrequency, haar_lowpass
from hspace_exp.methods.steering import Edit
from hspace_exp.models.attention import cross_attention_modules, visited_cross_attention
from hspace_exp.models.backbone import Backbone, PipelineModel
from hspace_exp.models.prompts import PromptEmbeds
from hspace_exp.models.sampling import Sampling
from hspace_exp.prompts.plan import Item
from hspace_rivals.equisteer import EquiSteer, Found, cleared, responses, separation, span, steered
from tests.unit.hspace_rivals.batch import ITEMS, PROMPTS, SAMPLING

FEW = partial(EquiSteer, noises=2, steps=2)


def edit(own: EquiSteer, strength: float = 1.0, branch: str = "conditional", **more: object) -> Edit:
    frequency = more.pop("frequency", None)
    return Method("equisteer", strength, branch, edit=own, **more).apply(PROMPTS, {}, frequency=frequency)  # type: ignore[arg-type]


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_tokens_are_cleared_of_all_values_whether_or_not_these_are_orthogonal() -> None:
    vectors = rows(3, 2, 6)  # of two values at three steps
    vectors[2, 1] = -vectors[2, 0]  # at the last one they are each other's opposite
    bases, x = span(vectors), rows(2, 5, 6, seed=1)
    for some, basis in zip(vectors, bases, strict=True):
        found = cleared(x, basis)
        torch.testing.assert_close(found @ some.T, torch.zeros(2, 5, 2), atol=1e-5, rtol=0)
        torch.testing.assert_close(cleared(found, basis), found)
    rank = bases.norm(dim=-1)
    torch.testing.assert_close(rank[2], torch.tensor([1.0, 0.0]))
    v, w = vectors[0, 0] / vectors[0, 0].norm(), vectors[0, 1]
    w = w - (w @ v) * v  # Gram and Schmidt, as the released code does it
    w = w / w.norm()
    by_hand = x - (x @ v)[..., None] * v
    by_hand = by_hand - (by_hand @ w)[..., None] * w
    torch.testing.assert_close(cleared(x, bases[0]), by_hand)


def test_what_is_added_is_the_targets_and_every_token_keeps_its_length() -> None:
    x, vectors = rows(2, 5, 6), rows(1, 2, 6, seed=1)
    vectors = vectors / vectors.norm(dim=-1, keepdim=True)
    addition = 3.0 * vectors[0]  # of each of the two rows
    found = steered(x, span(vectors)[0], addition)
    torch.testing.assert_close(found.norm(dim=-1), x.norm(dim=-1))
    by_hand = cleared(x, span(vectors)[0]) + addition[:, None]
    torch.testing.assert_close(found, by_hand * (x.norm(dim=-1) / by_hand.norm(dim=-1))[..., None])
    assert ((found[0] @ vectors[0, 0]) > 0).all()


def test_the_greatest_response_of_tokens_and_how_well_scores_tell() -> None:
    x = torch.tensor([[[1.0, 0.0], [0.0, -2.0]]])
    assert responses(x, torch.tensor([[1.0, 0.0], [0.0, 1.0]])).tolist() == [[1.0, 0.0]]
    area, margin = separation(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 0.0, -1.0, 2.0]))
    assert area == (0.5 + 2 + 0 + 4) / 8  # pairs that are told, ties half
    assert margin == pytest.approx(1.5 / ((1.0 + 1.25) / 2) ** 0.5)
    assert separation(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 0.0]))[0] == 1.0


def outputs(backbone: Backbone, prompt: str, key: str, k: int, steps: int) -> list[list[Tensor]]:
    """A layer's outputs (N, C) at each step of a run, of the conditional half."""
    modules = cross_attention_modules(backbone.unet)
    names, seen = {id(module): n for n, (_, module) in enumerate(modules)}, [list[Tensor]() for _ in modules]

    def visit(module: object, _q: Tensor, _text: Tensor, output: Tensor, _grid: object) -> None:
        seen[names[id(module)]].append(output[1])

    noise = initial_noise(key, k, backbone.latent_shape, domain=LEARNING)[None]
    with visited_cross_attention(backbone.unet, modules, visit):
        Sampling(steps)(backbone, noise, backbone.encode_prompts([prompt]))
    return seen


def test_directions_magnitudes_and_thresholds_are_those_of_single_runs(tiny_backbone: Backbone) -> None:
    found = FEW(subjects=["person", "nurse"]).found(tiny_backbone, PROMPTS)
    plain = ["a photo of a person", "a photo of a nurse"]
    shown = {
        "female": ["a photo of a woman", "a photo of a female nurse"],
        "male": ["a photo of a man", "a photo of a male nurse"],
    }
    runs = {
        (key, text, k): outputs(tiny_backbone, text, key, k, 2)
        for k in range(2)
        for texts in (plain, *shown.values())
        for key, text in zip(plain, texts, strict=True)
    }
    assert found.magnitudes.shape == (len(found.vectors), 2, 2)
    for layer, vectors in enumerate(found.vectors):
        for step in range(2):
            for n, name in enumerate(PROMPTS):
                with_value = [out[layer][step] for (_, text, _), out in runs.items() if text in shown[name]]
                without = [out[layer][step] for (_, text, _), out in runs.items() if text in plain]
                difference = torch.stack(with_value).mean((0, 1)) - torch.stack(without).mean((0, 1))
                s = difference / difference.norm()
                torch.testing.assert_close(vectors[step, n], s, atol=1e-3, rtol=0)
                greatest, least = (torch.stack([(x @ s).max() for x in some]).mean() for some in (with_value, without))
                torch.testing.assert_close(found.magnitudes[layer, step, n], greatest, atol=1e-3, rtol=1e-3)
                if step == 0:
                    middle = (greatest + least) / 2
                    torch.testing.assert_close(found.thresholds[layer, n], middle, atol=1e-3, rtol=1e-3)


def test_steps_are_known_by_their_share() -> None:
    found = Found([], [], torch.zeros(1, 4, 1), torch.zeros(1, 1), 0)
    assert [found.at(done) for done in (0.0, 0.1, 0.25, 0.5, 0.74, 0.9, 0.99)] == [0, 0, 1, 2, 3, 3, 3]


def seen_of_a_step(backbone: Backbone, how: Edit | None, items: list[Item], done: float = 0.0) -> list[Tensor]:
    """Each layer's outputs in a guided step."""
    prompts, seen = [""] * len(items) + [item.prompt for item in items], list[Tensor]()
    noise = torch.stack([rows(*backbone.latent_shape, seed=item.seed_index) for item in items]).repeat(2, 1, 1, 1)
    embeds: PromptEmbeds = backbone.encode_prompts(prompts)
    modules = cross_attention_modules(backbone.unet)

    def visit(_m: object, _q: Tensor, _text: Tensor, output: Tensor, _grid: object) -> None:
        seen.append(output.clone())

    hooks = None if how is None else how(backbone, items, True).hooks
    with torch.no_grad():
        if hooks is None:
            with visited_cross_attention(backbone.unet, modules, visit):
                backbone.predict(noise, 500, embeds)
        else:
            with hooks(done), visited_cross_attention(backbone.unet, modules, visit):
                backbone.predict(noise, 500, embeds)
    return seen


@pytest.mark.parametrize("branch", ["conditional", "both"])
def test_the_first_layer_is_edited_by_the_formula(tiny_backbone: Backbone, branch: str) -> None:
    own = FEW(gate=None)
    before = seen_of_a_step(tiny_backbone, None, ITEMS)[0]
    after = seen_of_a_step(tiny_backbone, edit(own, 1.5, branch), ITEMS, done=0.5)[0]
    found, expected = own.found(tiny_backbone, PROMPTS), before.clone()
    for row, n in ((0, 1), (2, 0)):
        for half in (3,) if branch == "conditional" else (0, 3):
            addition = 1.5 * found.magnitudes[0, 1, n] * found.vectors[0][1, n]
            expected[row + half] = steered(before[None, row + half], found.bases[0][1], addition[None])[0]
    torch.testing.assert_close(after, expected, atol=1e-6, rtol=1e-5)
    same = [0, 1, 2, 4] if branch == "conditional" else [1, 4]
    assert torch.equal(after[same], before[same])
    assert (after[3] - before[3]).abs().max() > 1e-3


def test_a_prompt_that_names_a_value_closes_the_gate_for_all_steps(tiny_backbone: Backbone) -> None:
    items = [Item(f"a photo of a {word}nurse", "nurse", 3, "female") for word in ("male ", "")]
    own = FEW(subjects=["person", "nurse"], gate=0)
    found = own.found(tiny_backbone, PROMPTS)
    scores = responses(seen_of_a_step(tiny_backbone, None, items)[0][2:], found.vectors[0][0])
    named, plain = scores[:, 1].tolist()
    assert named > plain
    thresholds = torch.tensor([1e6, (named + plain) / 2]).expand_as(found.thresholds)  # of female none, of male between
    own.latest._found = replace(found, thresholds=thresholds)
    steering = edit(own)(tiny_backbone, items, True)
    noise = torch.stack([rows(*tiny_backbone.latent_shape, seed=3)] * 4)
    embeds = tiny_backbone.encode_prompts(["", "", *(item.prompt for item in items)])
    with torch.no_grad():
        before = tiny_backbone.predict(noise, 500, embeds)
        for done in (0.0, 0.5):
            with steering.hooks(done):
                after = tiny_backbone.predict(noise, 500, embeds)
            assert torch.equal(after[:3], before[:3])  # left alone to the bit: the other half, and who names it
            assert (after[3] - before[3]).abs().max() > 1e-4
        with edit(replace(own, gate=None))(tiny_backbone, items, True).hooks(0.5):
            assert not torch.equal(tiny_backbone.predict(noise, 500, embeds)[2], before[2])


def test_layers_before_the_gate_are_left_alone_in_the_first_step(tiny_backbone: Backbone) -> None:
    last = len(cross_attention_modules(tiny_backbone.unet)) - 1
    own = FEW(gate=last)
    found = own.found(tiny_backbone, PROMPTS)
    own.latest._found = replace(found, thresholds=torch.full_like(found.thresholds, 1e6))
    plain, seen = (seen_of_a_step(tiny_backbone, how, ITEMS) for how in (None, edit(own)))
    assert last == 0 or torch.equal(seen[0], plain[0])
    assert not torch.equal(seen[last], plain[last])
    with pytest.raises(UserError, match=f"a layer below {last + 1}, got {last + 1}"):
        FEW(gate=last + 1).found(tiny_backbone, PROMPTS)


def test_images_do_not_depend_on_the_order_of_a_batch_and_those_without_target_stay(tiny_backbone: Backbone) -> None:
    own, make = FEW(gate=None), partial(sample_chunk, tiny_backbone, SAMPLING, image_seed=0)
    found, plain = make(ITEMS, edit=edit(own)), make(ITEMS, edit=None)
    assert torch.equal(found[1], plain[1])
    assert min((found[row] - plain[row]).abs().max() for row in (0, 2)) > 1e-3
    torch.testing.assert_close(make(ITEMS[::-1], edit=edit(own)).flip(0), found, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(make(ITEMS[:1], edit=edit(own)), found[:1], atol=1e-5, rtol=1e-4)
    assert torch.equal(make([ITEMS[1]], edit=edit(own)), make([ITEMS[1]], edit=None))
    assert (make(ITEMS, edit=edit(own, 0.0)) - plain).abs().max() > 1e-4  # is cleared all the same
    late = make(ITEMS, edit=edit(own, window=(0.5, 1.0)))
    assert (late - found).abs().max() > 1e-4
    low = make(ITEMS, edit=edit(own, frequency=LowFrequency(0.5, "original", haar_lowpass)))
    assert (low - found).abs().max() > 1e-4
    assert torch.equal(low[1], plain[1])


def test_directions_are_collected_once_and_anew_for_other_settings(tiny_backbone: Backbone) -> None:
    own = FEW()
    first = own.found(tiny_backbone, PROMPTS)
    assert own.found(tiny_backbone, dict(PROMPTS)) is first
    assert own.found(tiny_backbone, {"male": PROMPTS["male"]}) is not first
    again = own.found(tiny_backbone, dict(reversed(PROMPTS.items())))
    torch.testing.assert_close(again.magnitudes.flip(2), first.magnitudes, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        *(("noises", 1, 0), ("steps", 1, 0), ("gate", None, -1), ("gate", 0, "beast"), ("gate", "best", 0.5)),
        *(("scope", "encoder", "final"), ("subjects", [], "nurse")),
    ],
)
def test_settings_beyond_their_bounds_are_refused_by_name(name: str, taken: object, refused: object) -> None:
    node = {"_target_": "hspace_rivals.equisteer.EquiSteer"}
    check_targets({**node, name: taken}, "method.edit")
    with pytest.raises(UserError, match=rf"^method\.edit\.{name}=.*: expected "):
        check_targets({**node, name: refused}, "method.edit")
    assert not Method("equisteer", 1.0, "both", edit=FEW()).composes


def test_what_cannot_be_is_one_line(tiny_backbone: Backbone) -> None:
    with pytest.raises(UserError, match="Did you mean 'female'"):
        edit(FEW())(tiny_backbone, [replace(ITEMS[0], target="femal")], True)
    model = object.__new__(PipelineModel)
    with pytest.raises(UserError, match="samples its model beforehand"):
        edit(FEW())(model, ITEMS, True)
