"""Cross-attention read and suppressed: against an explicit computation, and without a trace afterwards."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.models.attention import (
    AttentionMargin,
    attention_probabilities,
    cross_attention_modules,
    record_cross_attention,
    suppress_cross_attention,
    token_grid,
)
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Sampling

PROMPT = "a photo of a woman"
ENCODER = ["down_blocks.1.attentions.0.transformer_blocks.0.attn2"]


def forward(backbone: Backbone, rows: int = 2, prompt: str = PROMPT) -> Tensor:
    latents = torch.randn(rows, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    return backbone.predict(latents, 500, backbone.encode_prompts([prompt] * rows))


def test_scopes(tiny_backbone: Backbone, deep_unet: UNet2DConditionModel) -> None:
    unet = tiny_backbone.unet
    assert [n for n, _ in cross_attention_modules(unet, "final")] == ENCODER
    assert [n for n, _ in cross_attention_modules(unet, "encoder")] == ENCODER
    assert [n.split(".")[0] for n, _ in cross_attention_modules(unet, "all")] == ["down_blocks", "mid_block"]
    final, encoder, everything = (cross_attention_modules(deep_unet, s) for s in ("final", "encoder", "all"))
    assert [n.split(".")[1] for n, _ in final] == ["1"]
    assert [n.split(".")[1] for n, _ in encoder] == ["0", "1"]
    assert len(everything) == 2 + 1 + 4
    assert {n.split(".")[0] for n, _ in cross_attention_modules(deep_unet, "before_h")} == {"down_blocks", "mid_block"}


def test_token_grid() -> None:
    assert token_grid(64, (8, 8)) == (8, 8)
    assert token_grid(9 * 6, (9, 6)) == (9, 6)
    assert token_grid(5 * 3, (9, 6)) == (5, 3)
    with pytest.raises(UserError, match="do not come from halving"):
        token_grid(17, (8, 8))


def test_probabilities_give_the_module_output(tiny_backbone: Backbone) -> None:
    _, module = cross_attention_modules(tiny_backbone.unet, "final")[0]
    queries, context = torch.randn(2, 16, 16), torch.randn(2, 10, 16)
    probabilities = attention_probabilities(module, queries, context)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(2, module.heads, 16))
    values = module.to_v(context).unflatten(-1, (module.heads, -1)).transpose(1, 2)
    output = module.to_out[0]((probabilities @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(output, module(queries, context))
    keep = torch.zeros(2, 10, dtype=torch.bool)
    keep[:, 3] = True
    torch.testing.assert_close(
        attention_probabilities(module, queries, context, keep)[..., 3], torch.ones(2, module.heads, 16)
    )


def test_recording_changes_nothing_and_averages(tiny_backbone: Backbone) -> None:
    vanilla = forward(tiny_backbone)
    everything = torch.ones(2, 16, dtype=torch.bool)
    with record_cross_attention(tiny_backbone.unet, everything) as record:
        assert torch.equal(forward(tiny_backbone), vanilla)
        forward(tiny_backbone)
    # The mean over all tokens of probabilities that sum to one, whatever layers and passes were averaged.
    torch.testing.assert_close(record.heatmap(), torch.full((2, 1, 4, 4), 1 / 16))
    assert record.count == 4
    for _, module in cross_attention_modules(tiny_backbone.unet):
        assert not module._forward_hooks
    assert not tiny_backbone.unet._forward_pre_hooks


def test_recording_keeps_the_conditional_half(tiny_backbone: Backbone) -> None:
    mask = tiny_backbone.word_mask(PROMPT, "woman").expand(2, -1)
    latents = torch.randn(2, 4, 8, 8)
    embeds = tiny_backbone.encode_prompts(["", "", PROMPT, PROMPT])
    with record_cross_attention(tiny_backbone.unet, mask, guided=True) as guided:
        tiny_backbone.predict(torch.cat([latents, latents]), 9, embeds)
    with record_cross_attention(tiny_backbone.unet, mask) as alone:
        tiny_backbone.predict(latents, 9, embeds.index([2, 3]))
    torch.testing.assert_close(guided.heatmap(), alone.heatmap())


def test_recording_several_resolutions_on_odd_latents(deep_unet: UNet2DConditionModel) -> None:
    mask = torch.zeros(1, 5, dtype=torch.bool)
    mask[0, 2] = True
    with record_cross_attention(deep_unet, mask) as record:
        deep_unet(torch.randn(1, 4, 9, 6), 3, encoder_hidden_states=torch.randn(1, 5, 16))
    assert set(record.sums) == {(9, 6), (5, 3), (3, 2)}
    assert record.heatmap().shape == (1, 1, 9, 6)


def test_chi_of_ones_is_vanilla_and_of_zeros_removes_the_prompt(tiny_backbone: Backbone) -> None:
    unet = tiny_backbone.unet
    vanilla = forward(tiny_backbone)
    for scope in ("final", "encoder", "all"):
        with suppress_cross_attention(unet, torch.ones(2, 1, 32, 32), scope):
            assert torch.equal(forward(tiny_backbone), vanilla)
    with suppress_cross_attention(unet, torch.zeros(2, 1, 32, 32), "all"):
        blind, other = forward(tiny_backbone), forward(tiny_backbone, prompt="a photo of a man in the city")
    assert torch.equal(blind, other)
    assert not torch.equal(blind, vanilla)
    assert torch.equal(forward(tiny_backbone), vanilla)


def test_chi_multiplies_the_cells_it_touches(tiny_backbone: Backbone) -> None:
    _, module = cross_attention_modules(tiny_backbone.unet, "final")[0]
    outputs: list[Tensor] = []

    def keep(module: Attention, args: object, output: Tensor) -> None:
        outputs.append(output)

    chi = torch.ones(2, 1, 32, 32)
    chi[0, 0, 9, 17] = 0.25  # one pixel of 8 x 8 cells: row 1, column 2 of the 4 x 4 grid
    forward_hooks = [module.register_forward_hook(keep)]
    try:
        forward(tiny_backbone)
        with suppress_cross_attention(tiny_backbone.unet, chi, "final"):
            forward_hooks.append(module.register_forward_hook(keep))
            forward(tiny_backbone)
    finally:
        for hook in forward_hooks:
            hook.remove()
    expected = outputs[0].clone()
    expected[0, 1 * 4 + 2] *= 0.25
    torch.testing.assert_close(outputs[-1], expected)


def test_hooks_go_away_after_an_error(tiny_backbone: Backbone) -> None:
    with (
        pytest.raises(UserError, match=r"chi of shape \(2, 1, H, W\)"),
        suppress_cross_attention(tiny_backbone.unet, torch.ones(3, 1, 8, 8)),
    ):
        forward(tiny_backbone)
    with (
        pytest.raises(UserError, match=r"token mask of shape \(2, 16\)"),
        record_cross_attention(tiny_backbone.unet, torch.ones(1, 16, dtype=torch.bool)),
    ):
        forward(tiny_backbone)
    assert not any(m._forward_hooks for _, m in cross_attention_modules(tiny_backbone.unet))


def test_margin_is_a_half_when_both_texts_are_the_same(tiny_backbone: Backbone) -> None:
    _, module = cross_attention_modules(tiny_backbone.unet, "final")[0]
    embeds = tiny_backbone.encode_prompts(["woman"])
    margin = AttentionMargin(embeds.content_mask, embeds.encoder_hidden_states, embeds.content_mask)
    delta = margin.margin(module, torch.randn(1, 16, 16), embeds.encoder_hidden_states)
    torch.testing.assert_close(delta, torch.full((1, 16), 0.5))


def test_margin_counts_attention_per_token(tiny_backbone: Backbone) -> None:
    _, module = cross_attention_modules(tiny_backbone.unet, "final")[0]
    queries, word = torch.randn(1, 16, 16), torch.randn(1, 1, 16)
    context = word.expand(1, 6, 16)  # the longer text must not win
    mask = torch.tensor([[False, True, True, True, True, False]])
    margin = AttentionMargin(mask, word, torch.ones(1, 1, dtype=torch.bool))
    torch.testing.assert_close(margin.margin(module, queries, context), torch.full((1, 16), 0.5))


def test_placed_margin_compares_where_tokens_are_read_by_hand(tiny_backbone: Backbone) -> None:
    _, module = cross_attention_modules(tiny_backbone.unet, "final")[0]
    random = torch.Generator().manual_seed(2)
    queries, context, target = (torch.randn(2, n, 16, generator=random) for n in (16, 6, 3))
    masks = torch.tensor([[0, 1, 1, 1, 0, 0]]).bool().expand(2, -1), torch.tensor([[0, 1, 1]]).bool().expand(2, -1)
    key = module.to_k(torch.cat([context[:, 1:4], target[:, 1:]], 1)).unflatten(-1, (module.heads, -1))
    query = module.to_q(queries).unflatten(-1, (module.heads, -1))
    softmax = (torch.einsum("bnhd,blhd->bnhl", query, key) * query.shape[-1] ** -0.5).softmax(-1)
    shares = softmax / softmax.sum(1, keepdim=True)  # of each head's token, over the 16 positions
    prompt, attribute = shares[..., :3].mean((2, 3)), shares[..., 3:].mean((2, 3))
    placed, plain = (AttentionMargin(masks[0], target, masks[1], placed=placed) for placed in (True, False))
    torch.testing.assert_close(placed.margin(module, queries, context), prompt / (prompt + attribute))
    assert not torch.allclose(plain.margin(module, queries, context), prompt / (prompt + attribute))
    # read everywhere alike, a text says nothing of where, however often it is read
    same = queries[:, :1].expand(-1, 16, -1)
    torch.testing.assert_close(placed.margin(module, same, context), torch.full((2, 16), 0.5))
    assert (plain.margin(module, same, context) - 0.5).abs().min() > 1e-3


def test_margin_threshold_switches_attention(tiny_backbone: Backbone) -> None:
    embeds, target = (tiny_backbone.encode_prompts([p, p]) for p in (PROMPT, "man"))
    vanilla = forward(tiny_backbone)

    def suppressed(threshold: float) -> Tensor:
        margin = AttentionMargin(embeds.content_mask, target.encoder_hidden_states, target.content_mask, threshold)
        with suppress_cross_attention(tiny_backbone.unet, margin, "all"):
            return forward(tiny_backbone)

    assert torch.equal(suppressed(0.0), vanilla)
    with suppress_cross_attention(tiny_backbone.unet, torch.zeros(2, 1, 4, 4), "all"):
        assert torch.equal(suppressed_all := forward(tiny_backbone), suppressed(1.0))
    assert not torch.equal(suppressed_all, vanilla)
    with pytest.raises(UserError, match="one is empty"):
        AttentionMargin(torch.zeros(1, 4, dtype=torch.bool), torch.zeros(1, 4, 16), torch.ones(1, 4, dtype=torch.bool))


def test_nothing_recorded_is_said(tiny_backbone: Backbone) -> None:
    with record_cross_attention(tiny_backbone.unet, torch.ones(1, 16, dtype=torch.bool)) as record:
        pass
    with pytest.raises(UserError, match="no cross-attention was recorded"):
        record.heatmap()


@pytest.mark.parametrize("name", ["tiny_backbone", "tiny_sdxl_backbone"])
def test_heat_of_a_sampled_image_is_daam(name: str, request: pytest.FixtureRequest) -> None:
    """Cross-attention alone, the conditional half, every step; means over layers, heads and a word's tokens."""
    backbone: Backbone = request.getfixturevalue(name)
    prompt, words, steps = "a photo of a light-skinned person", "light-skinned", 3
    backbone.guidance_scale = 3.0
    tokens = backbone.word_mask(prompt, words)
    assert tokens.sum() > 1  # one word, several tokens
    noise = torch.randn(2, *backbone.latent_shape, generator=torch.Generator().manual_seed(5))
    embeds = backbone.encode_prompts([prompt]).expand(2)
    weights: list[Tensor] = []

    def by_hand(module: Attention, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        query = module.to_q(args[0]).unflatten(-1, (module.heads, -1)).transpose(1, 2)
        key = module.to_k(kwargs["encoder_hidden_states"]).unflatten(-1, (module.heads, -1)).transpose(1, 2)
        softmax = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        weights.append(softmax[2:, ..., tokens].mean((1, 3)).view(2, 1, 4, 4))  # the conditional half, rows 2 and 3

    modules = [m for n, m in backbone.unet.named_modules() if n.endswith("attn2")]
    handles = [m.register_forward_pre_hook(by_hand, with_kwargs=True) for m in modules]
    try:
        with record_cross_attention(backbone.unet, tokens.expand(2, -1), guided=True) as record:
            Sampling(steps)(backbone, noise, embeds)
    finally:
        for handle in handles:
            handle.remove()
    assert record.count == len(weights) == steps * len(modules)
    torch.testing.assert_close(record.heatmap(), torch.stack(weights).mean(0))
    vanilla = Sampling(steps)(backbone, noise, embeds)
    with record_cross_attention(backbone.unet, tokens.expand(2, -1), guided=True):
        recorded = Sampling(steps)(backbone, noise, embeds)
    assert torch.equal(recorded, vanilla)


def test_layers_of_all_resolutions_weigh_the_same(deep_unet: UNet2DConditionModel) -> None:
    mask = torch.tensor([[False, True, True, False, False]])
    with record_cross_attention(deep_unet, mask) as record:
        deep_unet(torch.randn(1, 4, 9, 6), 3, encoder_hidden_states=torch.randn(1, 5, 16))
    planes = [torch.nn.functional.interpolate(p, (9, 6), mode="bilinear") for p in record.sums.values()]
    torch.testing.assert_close(record.heatmap(), sum(planes) / len(cross_attention_modules(deep_unet)))
