"""Edits of h: exact when off, linear when on, per sample, and no graph upstream."""

import pytest
import torch
from torch import Tensor

from benchmarks.recording import record_hspace
from hspace_exp.errors import UserError
from hspace_exp.methods.frequency import haar_lowpass
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit, edit_hspace


@pytest.fixture
def h() -> Tensor:
    return torch.randn(4, 16, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def v() -> Tensor:
    return torch.randn(16, 4, 4, generator=torch.Generator().manual_seed(2))


def forward(backbone: Backbone, rows: int = 2) -> Tensor:
    latents = torch.randn(rows, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    return backbone.predict(latents, 500, backbone.encode_prompts(["a photo of a person"] * rows))


def test_zero_edit_is_vanilla_bit_for_bit(tiny_backbone: Backbone, v: Tensor) -> None:
    vanilla = forward(tiny_backbone)
    edit = HEdit(v, strength=0.0, lowpass=haar_lowpass, lowpass_weight=0.0, attenuation=torch.ones(2, 1, 4, 4))
    with edit_hspace(tiny_backbone.unet, edit):
        assert torch.equal(forward(tiny_backbone), vanilla)
    with edit_hspace(tiny_backbone.unet, HEdit(v)):
        assert not torch.equal(forward(tiny_backbone), vanilla)
    assert torch.equal(forward(tiny_backbone), vanilla)


def test_hooks_go_away_even_after_an_error(tiny_backbone: Backbone) -> None:
    with (
        pytest.raises(UserError, match=r"\(5, 1, 1\) does not fit this model's h \(16, 4, 4\)"),
        edit_hspace(tiny_backbone.unet, HEdit(torch.zeros(5, 1, 1))),
    ):
        forward(tiny_backbone)
    assert not tiny_backbone.unet.mid_block._forward_hooks


def test_the_whole_rule(h: Tensor, v: Tensor) -> None:
    m = torch.rand(4, 1, 4, 4)
    edited = HEdit(v, 2.0, m, haar_lowpass, 0.35)(h)
    torch.testing.assert_close(edited, m * h + 2 * v + 0.35 * haar_lowpass(h))


def test_strength_is_per_sample(h: Tensor, v: Tensor) -> None:
    s = torch.tensor([0.0, 1.0, -2.0, 3.0])
    edited = HEdit(v, s)(h)
    assert torch.equal(edited[0], h[0])
    torch.testing.assert_close(edited, h + s[:, None, None, None] * v)
    each = torch.stack([v, 2 * v, 3 * v, 4 * v])
    torch.testing.assert_close(HEdit(each)(h), h + each)


def test_guided_batch_repeats_samples_and_chooses_the_branch(h: Tensor, v: Tensor) -> None:
    s = torch.tensor([1.0, 2.0])
    both = HEdit(v, s, guided=True)(h)
    torch.testing.assert_close(both, h + torch.tensor([1.0, 2.0, 1.0, 2.0])[:, None, None, None] * v)
    conditional = HEdit(v, s, lowpass=haar_lowpass, lowpass_weight=0.5, guided=True, branch="conditional")(h)
    assert torch.equal(conditional[:2], h[:2])
    torch.testing.assert_close(conditional[2:], both[2:] + 0.5 * haar_lowpass(h[2:]))


def test_low_band_of_the_original_stays_in_its_half(h: Tensor) -> None:
    # two samples: rows 0, 1 unconditional, rows 2, 3 conditional
    unedited = torch.randn(h.shape, generator=torch.Generator().manual_seed(7))
    weight = torch.tensor([0.0, 0.35])
    edited = HEdit(lowpass=haar_lowpass, lowpass_weight=weight, original=unedited, guided=True)(h)
    assert torch.equal(edited[[0, 2]], h[[0, 2]])
    torch.testing.assert_close(edited[1], h[1] + 0.35 * haar_lowpass(unedited[1:2])[0])
    torch.testing.assert_close(edited[3], h[3] + 0.35 * haar_lowpass(unedited[3:])[0])


def test_samples_do_not_see_each_other(h: Tensor, v: Tensor) -> None:
    edit = HEdit(v, 1.5, lowpass=haar_lowpass, lowpass_weight=0.35)
    torch.testing.assert_close(edit(h)[1:2], edit(h[1:2]))
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(edit(h[order]), edit(h)[order])


@pytest.mark.parametrize("shape", [(16, 1, 1), (16, 4, 4)])
def test_training_builds_no_graph_upstream_of_h(tiny_backbone: Backbone, shape: tuple[int, int, int]) -> None:
    vector = torch.zeros(shape, requires_grad=True)
    seen: dict[str, bool] = {}
    unet = tiny_backbone.unet
    watched = {"down": unet.down_blocks, "mid": [unet.mid_block], "up": unet.up_blocks}
    handles = []

    def watch(name: str):  # noqa: ANN202
        def hook(module, args, output) -> None:  # noqa: ANN001
            outputs = [output] if isinstance(output, Tensor) else [output[0], *output[1]]
            seen[name] = seen.get(name, False) or any(o.requires_grad for o in outputs)

        return hook

    for name, blocks in watched.items():
        handles += [block.register_forward_hook(watch(name)) for block in blocks]
    try:
        with edit_hspace(unet, HEdit(vector)):
            forward(tiny_backbone).square().mean().backward()
    finally:
        for handle in handles:
            handle.remove()
    assert seen == {"down": False, "mid": False, "up": True}
    assert vector.grad.abs().sum() > 0
    assert all(p.grad is None for p in unet.parameters())


def test_training_works_after_prompts_were_encoded_in_inference_mode(tiny_backbone: Backbone) -> None:
    with torch.inference_mode():
        forward(tiny_backbone)
    vector = torch.zeros(16, 1, 1, requires_grad=True)
    with edit_hspace(tiny_backbone.unet, HEdit(vector)):
        forward(tiny_backbone).sum().backward()
    assert vector.grad.isfinite().all()


def test_gradient_is_the_numerical_one(tiny_backbone: Backbone) -> None:
    vector = torch.full((16, 1, 1), 0.1, requires_grad=True)
    with edit_hspace(tiny_backbone.unet, HEdit(vector)):
        forward(tiny_backbone).square().mean().backward()
    step, losses = 1e-2, []
    for sign in (1, -1):
        moved = vector.detach().clone()
        moved[3] += sign * step
        with edit_hspace(tiny_backbone.unet, HEdit(moved)):
            losses.append(forward(tiny_backbone).double().square().mean())
    torch.testing.assert_close(
        ((losses[0] - losses[1]) / (2 * step)).float(), vector.grad[3, 0, 0], rtol=0.05, atol=1e-5
    )


def test_half_precision_comes_back_as_it_was(v: Tensor) -> None:
    h = torch.randn(2, 16, 4, 4).to(torch.bfloat16)
    assert HEdit(v)(h).dtype == torch.bfloat16
    assert torch.equal(HEdit(v, 0.0)(h), h)


def test_h_can_be_recorded_and_put_in_the_place_of_another(tiny_backbone: Backbone) -> None:
    vanilla = forward(tiny_backbone)
    with record_hspace(tiny_backbone.unet) as recorded:
        forward(tiny_backbone)
    assert [tuple(r.shape) for r in recorded] == [(2, 16, 4, 4)]
    with edit_hspace(tiny_backbone.unet, lambda h: recorded[0]):
        assert torch.equal(forward(tiny_backbone), vanilla)
    with edit_hspace(tiny_backbone.unet, lambda h: h[[1, 1]]), record_hspace(tiny_backbone.unet) as moved:
        swapped = forward(tiny_backbone)
    assert torch.equal(moved[0][0], recorded[0][1])
    assert torch.equal(swapped[1], vanilla[1])
    assert not torch.equal(swapped[0], vanilla[0])


def test_wrong_sizes_say_what_was_expected(h: Tensor, v: Tensor) -> None:
    with pytest.raises(UserError, match="strength with 4 rows"):
        HEdit(v, torch.ones(3))(h)
    with pytest.raises(UserError, match="even size, got 3"):
        HEdit(v, guided=True)(h[:3])
    with pytest.raises(UserError, match=r"original of h's own shape, got \(1, 16, 4, 4\)"):
        HEdit(lowpass=haar_lowpass, original=h[:1])(h)
    with pytest.raises(UserError, match=r"\(C, 1, 1\)"):
        HEdit(torch.zeros(16))


def test_vector_and_low_frequencies_may_enter_different_halves_of_guidance() -> None:
    h = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    vector = torch.ones(3, 1, 1)
    edit = HEdit(
        vector=vector,
        strength=2.0,
        lowpass=haar_lowpass,
        lowpass_weight=0.35,
        guided=True,
        branch="conditional",
        lowpass_branch="both",
    )
    low = 0.35 * haar_lowpass(h)
    torch.testing.assert_close(edit(h)[:2], (h + low)[:2])
    torch.testing.assert_close(edit(h)[2:], (h + low + 2.0 * vector)[2:])


def test_a_gate_and_hold_follow_the_formula() -> None:
    random = torch.Generator().manual_seed(5)
    h, v = torch.randn(4, 3, 2, 2, generator=random), torch.randn(3, 2, 2, generator=random)
    gate = torch.rand(2, 1, 2, 2, generator=random)
    edit = HEdit(v, 2.0, gate=gate, hold=0.25, original=h[[0, 0, 2, 2]], guided=True)
    expected = h.clone()
    for row, source, g in ((0, 0, gate[0]), (1, 0, gate[1]), (2, 2, gate[0]), (3, 2, gate[1])):
        for y in range(2):
            for x in range(2):
                pull = 1 - 0.75 * g[0, y, x]
                held = h[row, :, y, x] + pull * (h[source, :, y, x] - h[row, :, y, x])
                expected[row, :, y, x] = held + 2.0 * g[0, y, x] * v[:, y, x]
    torch.testing.assert_close(edit(h), expected)


def test_holding_needs_something_to_hold_to() -> None:
    with pytest.raises(UserError, match="say its h, original"):
        HEdit(hold=0.5)
