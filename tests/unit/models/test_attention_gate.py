from __future__ import annotations

import pytest
import torch

from hspace_exp.errors import UserError
from hspace_exp.models.attention import cross_attention_modules
from hspace_exp.models.attention_gate import AttentionGate, open_attention_gate, soft_gate
from hspace_exp.models.backbone import Backbone

PAIRS = [("a photo of a woman", "woman"), ("a photo of a man", "man")]


def gate_of(backbone: Backbone, rows: torch.Tensor, threshold: float = 0.5) -> AttentionGate:
    states = backbone.encode_prompts([prompt for prompt, _ in PAIRS]).encoder_hidden_states
    words = torch.stack([backbone.word_mask(*pair) for pair in PAIRS])
    return AttentionGate(states, words, rows, backbone.h_shape[1:], threshold)


def test_the_largest_relative_heat_opens_the_gate() -> None:
    heat = torch.tensor(
        [[[[0.8, 0.2], [0.08, 0.0]], [[0.5, 1.0], [0.3, 0.1]]]]
    )  # relative: 1, .25, .1, 0; .5, 1, .3, .1
    torch.testing.assert_close(soft_gate(heat, 0.4), torch.tensor([[[[1.0, 1.0], [0.75, 0.25]]]]))
    torch.testing.assert_close(soft_gate(heat, 1.0), torch.tensor([[[[1.0, 1.0], [0.3, 0.1]]]]))
    torch.testing.assert_close(soft_gate(heat[:, :1], 0.5), torch.tensor([[[[1.0, 0.5], [0.2, 0.0]]]]))


def test_the_gate_is_what_the_words_get_relative_to_their_peak(tiny_backbone: Backbone) -> None:
    unet = tiny_backbone.unet
    latents = torch.randn(4, *tiny_backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    embeds = tiny_backbone.encode_prompts(["a photo of a nurse"]).expand(4)
    rows = torch.tensor([2, 3])
    seen: dict[str, torch.Tensor] = {}
    handles = [
        module.register_forward_hook(lambda m, a, kw, o, n=name: seen.__setitem__(n, a[0]), with_kwargs=True)
        for name, module in cross_attention_modules(unet, "before_h")
    ]
    plain = tiny_backbone.predict(latents, 500, embeds)
    for handle in handles:
        handle.remove()
    gate = gate_of(tiny_backbone, rows)
    with open_attention_gate(unet, gate):
        assert torch.equal(tiny_backbone.predict(latents, 500, embeds), plain)

    height, width = tiny_backbone.h_shape[1:]
    expected = torch.zeros(2, 1, height, width)
    for prompt, words in PAIRS:
        states = tiny_backbone.encode_prompts([prompt]).encoder_hidden_states[0]
        mask = tiny_backbone.word_mask(prompt, words)
        heat = torch.zeros(2, height * width)
        for name, module in cross_attention_modules(unet, "before_h"):
            q, k = module.to_q(seen[name][rows]), module.to_k(states)
            for head_q, head_k in zip(q.chunk(module.heads, -1), k.chunk(module.heads, -1), strict=True):
                share = (head_q @ head_k.T * module.scale).softmax(-1)[..., mask].mean(-1)
                heat += share / module.heads
        heat = heat.view(2, 1, height, width)
        expected = torch.maximum(expected, heat / heat.amax((-2, -1), keepdim=True))
    torch.testing.assert_close(gate(), (expected / 0.5).clamp(max=1), rtol=1e-4, atol=1e-5)


def test_the_gate_averages_over_passes(tiny_backbone: Backbone) -> None:
    embeds = tiny_backbone.encode_prompts(["a photo of a nurse"])
    first, second = torch.randn(2, 1, *tiny_backbone.latent_shape, generator=torch.Generator().manual_seed(1))
    heats = []
    for states in ([first], [second], [first, second]):
        gate = gate_of(tiny_backbone, torch.tensor([0]))
        for latents in states:
            with open_attention_gate(tiny_backbone.unet, gate):
                tiny_backbone.predict(latents, 300, embeds)
        heats.append(gate.heat)
    torch.testing.assert_close(heats[0] + heats[1], heats[2])


def test_nonsense_is_refused(tiny_backbone: Backbone) -> None:
    with pytest.raises(UserError, match="seen no cross-attention"):
        gate_of(tiny_backbone, torch.tensor([0]))()
