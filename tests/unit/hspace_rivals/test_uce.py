"""The closed-form edit of keys and values against the normal equations, solved by NumPy, and in a batch of images."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from hspace_exp.config.checks import check_targets
from hspace_exp.errors import UserError
from hspace_exp.generation.generate import sample_chunk
from hspace_exp.methods.base import Method
from hspace_exp.methods.frequency import LowFrequency, haar_lowpass
from hspace_exp.methods.steering import Edit
from hspace_exp.models.attention import cross_attention_modules
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.plan import Item
from hspace_rivals.uce import ClosedFormEdit, directions, shift_of_text, text_features
from tests.unit.hspace_rivals.batch import ITEMS, NEUTRAL, PROMPTS, SAMPLING, checked_images, predictions

JOBS = ("nurse", "CEO")
randn = partial(torch.randn, dtype=torch.float64)


def edit(
    strength: float = 2.0, branch: str = "both", frequency: LowFrequency | None = None, **settings: object
) -> Edit:
    closed = ClosedFormEdit(JOBS, **settings)  # type: ignore[arg-type]
    return Method("uce", strength, branch, edit=closed).apply(PROMPTS, {}, frequency=frequency)


@pytest.mark.parametrize(("ridge", "preserve"), [(0.5, 1.0), (0.1, 0.0), (3.0, 0.2)])
def test_edited_weights_solve_the_normal_equations(ridge: float, preserve: float) -> None:
    generator = torch.Generator().manual_seed(0)
    c, d, p, w = (randn(*shape, generator=generator) for shape in ((3, 5), (3, 5), (2, 5), (4, 5)))
    s = 1.7
    values, whole = ridge * w.numpy(), ridge * np.eye(5)
    for c_i, d_i in zip(c.numpy(), d.numpy(), strict=True):
        values = values + np.outer(w.numpy() @ (c_i + s * d_i), c_i)
        whole = whole + np.outer(c_i, c_i)
    for p_j in p.numpy():
        values = values + preserve * np.outer(w.numpy() @ p_j, p_j)
        whole = whole + preserve * np.outer(p_j, p_j)
    expected = values @ np.linalg.inv(whole)
    found = w @ (torch.eye(5, dtype=torch.float64) + s * shift_of_text(c, d, p, ridge, preserve))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_without_a_ridge_tokens_go_where_they_are_to_and_preserved_ones_stay() -> None:
    generator = torch.Generator().manual_seed(1)
    c, d, p = (randn(*shape, generator=generator) for shape in ((2, 6), (2, 6), (3, 6)))
    shift = shift_of_text(c, d, p, 1e-10, 1.0)
    torch.testing.assert_close(c @ shift.T, d, atol=1e-6, rtol=0)
    torch.testing.assert_close(p @ shift.T, torch.zeros_like(p), atol=1e-6, rtol=0)
    weak = shift_of_text(c, d, p, 1e10, 1.0)
    assert weak.abs().max() < 1e-8  # and with a ridge of infinity all stay


def test_directions_lead_from_the_other_values_to_the_target() -> None:
    plain, shown, one, two = (torch.tensor(rows)[:, None] for rows in ([1.0, 2, 3], [5.0, 6], [1.0, 2], [3.0, 4, 9]))
    c, d = directions(plain, shown, one, two)
    assert c[:, 0].tolist() == [1.0, 2.0]
    assert d[:, 0].tolist() == [3.0, 3.0]


def test_features_are_those_of_the_last_word_and_of_what_follows(tiny_backbone: Backbone) -> None:
    whole = tiny_backbone.encode_prompts(["a photo of a nurse"]).encoder_hidden_states[0].double()
    mask = tiny_backbone.word_mask("a photo of a nurse", "nurse").nonzero()
    (at,) = mask[-1].tolist()
    torch.testing.assert_close(text_features(tiny_backbone, "a photo of a nurse", tokens="last"), whole[at : at + 1])
    torch.testing.assert_close(text_features(tiny_backbone, "a photo of a nurse", tokens="rest"), whole[at:])
    found = text_features(tiny_backbone, "a photo of a nurse", "a photo", tokens="last")
    torch.testing.assert_close(found, whole[2:3])


def test_values_are_their_words_own_features(tiny_backbone: Backbone) -> None:
    features = partial(text_features, tiny_backbone, tokens="last")
    c = torch.cat([features(f"a photo of a {job}") for job in ("nurse", "ceo")])
    p = tiny_backbone.encode_prompts([""]).encoder_hidden_states[0].double()
    old, young, person = map(features, ("a photo of an old", "a photo of a young", NEUTRAL))
    ages = {word: ConceptPrompts(f"a photo of a {word} person", NEUTRAL, word) for word in ("young", "old")}
    ages["old"].positive = "a photo of an old person"
    shifts = ClosedFormEdit(JOBS).shifts(tiny_backbone, ages)
    torch.testing.assert_close(shifts["old"], shift_of_text(c, (old - young).expand(2, -1), p, 0.5, 1.0))
    alone = ClosedFormEdit(JOBS).shifts(tiny_backbone, {"old": ages["old"]})["old"]
    torch.testing.assert_close(alone, shift_of_text(c, (old - person).expand(2, -1), p, 0.5, 1.0))


def test_values_may_be_those_of_the_profession_with_the_attribute(tiny_backbone: Backbone) -> None:
    features = partial(text_features, tiny_backbone, tokens="last")
    c = torch.cat([features(f"a photo of a {job}") for job in ("nurse", "ceo")])
    female, male = (torch.cat([features(f"a photo of a {word} {job}") for job in ("nurse", "ceo")]) for word in PROMPTS)
    p = tiny_backbone.encode_prompts([""]).encoder_hidden_states[0].double()
    shifts = ClosedFormEdit(JOBS, ridge=0.3, preserve=0.7, values="joined").shifts(tiny_backbone, PROMPTS)
    torch.testing.assert_close(shifts["male"], shift_of_text(c, male - female, p, 0.3, 0.7))
    torch.testing.assert_close(shifts["female"], -shifts["male"])
    alone = ClosedFormEdit(JOBS, preserved=(), values="joined").shifts(tiny_backbone, {"male": PROMPTS["male"]})["male"]
    torch.testing.assert_close(alone, shift_of_text(c, male - c, p[:0], 0.5, 1.0))


@pytest.mark.parametrize("branch", ["both", "conditional"])
def test_a_row_is_predicted_with_the_edited_weights_of_its_target(tiny_backbone: Backbone, branch: str) -> None:
    closed = ClosedFormEdit(JOBS)
    how = Method("uce", 2.0, branch, edit=closed).apply(PROMPTS, {})
    found, before = predictions(tiny_backbone, how, ITEMS), predictions(tiny_backbone, None, ITEMS)
    shifts, expected = closed.shifts(tiny_backbone, PROMPTS), before.clone()
    for row in (0, 2):
        old = {}
        for name, module in cross_attention_modules(tiny_backbone.unet):
            for projection in (module.to_k, module.to_v):
                weight = projection.weight
                old[name, projection] = weight.clone()
                new = weight.double() @ (torch.eye(weight.shape[1]) + 2.0 * shifts[ITEMS[row].target])
                weight.copy_(new)
        by_weights = predictions(tiny_backbone, None, ITEMS)
        for (_, projection), weight in old.items():
            projection.weight.copy_(weight)
        for half in (0, 3) if branch == "both" else (3,):
            expected[row + half] = by_weights[row + half]
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
    assert (found[3] - before[3]).abs().max() > 1e-3
    same = [1, 4] if branch == "both" else [0, 1, 2, 4]
    assert torch.equal(found[same], before[same])  # without target, or in the half that is left alone: to the bit


def test_images_do_not_depend_on_the_order_of_a_batch_and_those_without_target_stay(tiny_backbone: Backbone) -> None:
    checked_images(tiny_backbone, edit(), edit(0.0))
    alone = partial(sample_chunk, tiny_backbone, SAMPLING, [ITEMS[1]], 0)
    assert torch.equal(alone(edit()), alone(None))


def test_it_acts_in_its_window_and_beside_the_low_frequencies(tiny_backbone: Backbone) -> None:
    late = Method("uce", 2.0, "both", edit=ClosedFormEdit(JOBS), window=(0.5, 1.0)).apply(PROMPTS, {})
    assert torch.equal(predictions(tiny_backbone, late, ITEMS, 0.0), predictions(tiny_backbone, None, ITEMS))
    assert not torch.equal(predictions(tiny_backbone, late, ITEMS, 0.5), predictions(tiny_backbone, None, ITEMS))
    low = LowFrequency(0.5, "original", haar_lowpass)
    make = partial(sample_chunk, tiny_backbone, SAMPLING, ITEMS, 0)
    found = make(edit(frequency=low))
    assert (found - make(edit())).abs().max() > 1e-3
    assert torch.equal(found[1], make(None)[1])


def test_an_edit_is_found_once_for_all_strengths_and_anew_for_other_prompts(tiny_backbone: Backbone) -> None:
    closed = ClosedFormEdit(JOBS)
    first = closed.shifts(tiny_backbone, PROMPTS)
    assert closed.shifts(tiny_backbone, dict(PROMPTS)) is first
    assert closed.shifts(tiny_backbone, {"male": PROMPTS["male"]}) is not first
    with pytest.raises(UserError, match="Did you mean 'female'"):
        edit()(tiny_backbone, [Item("a photo of a nurse", "nurse", 0, "femal")], True)


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [("ridge", 1e-9, 0.0), ("preserve", 0.0, -0.1), ("values", "joined", "both"), ("tokens", "rest", "all")],
)
def test_settings_beyond_their_bounds_are_refused_by_name(name: str, taken: object, refused: object) -> None:
    node = {"_target_": "hspace_rivals.uce.ClosedFormEdit", "professions": ["nurse"]}
    check_targets({**node, name: taken}, "method.edit")
    with pytest.raises(UserError, match=rf"^method\.edit\.{name}=.*: expected "):
        check_targets({**node, name: refused}, "method.edit")
    assert not Method("uce", 1.0, "both", edit=ClosedFormEdit(JOBS)).composes


def test_a_model_with_two_text_encoders_is_edited_too(tiny_sdxl_backbone: Backbone) -> None:
    items = [ITEMS[0], ITEMS[1]]
    found, plain = (sample_chunk(tiny_sdxl_backbone, SAMPLING, items, 0, how) for how in (edit(), None))
    assert (found[0] - plain[0]).abs().max() > 1e-4
    assert torch.equal(found[1], plain[1])
