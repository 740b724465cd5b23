from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel

from benchmarks.recording import record_hspace
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit, edit_hspace
from hspace_exp.models.prompts import PromptEmbeds
from hspace_exp.models.split import Encoded, decode, encode


def inputs(backbone: Backbone) -> tuple[torch.Tensor, torch.Tensor, PromptEmbeds]:
    latents = torch.randn(3, *backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    return latents, torch.tensor([10, 500, 900]), backbone.encode_prompts(["a photo of a nurse"]).expand(3)


@pytest.mark.parametrize("fixture", ["tiny_backbone", "tiny_sdxl_backbone"])
def test_the_two_halves_are_the_whole(fixture: str, request: pytest.FixtureRequest) -> None:
    backbone = request.getfixturevalue(fixture)
    latents, t, embeds = inputs(backbone)
    with record_hspace(backbone.unet) as seen:
        whole = backbone.predict(latents, t, embeds)
    encoded = encode(backbone, latents, t, embeds)
    torch.testing.assert_close(encoded.h, seen[0], rtol=0, atol=0)
    torch.testing.assert_close(decode(backbone, encoded, encoded.h, embeds), whole)


def test_a_deep_unet_with_cross_attention_behind_h_and_odd_sizes(
    tiny_backbone: Backbone, deep_unet: UNet2DConditionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_backbone, "unet", deep_unet)
    channels = deep_unet.config["in_channels"]
    width = deep_unet.config["cross_attention_dim"]
    latents = torch.randn(2, channels, 10, 10, generator=torch.Generator().manual_seed(1))
    states = torch.randn(2, 5, width, generator=torch.Generator().manual_seed(2))
    embeds = PromptEmbeds(states, torch.ones(2, 5, dtype=torch.bool))
    encoded = encode(tiny_backbone, latents, torch.tensor([7, 70]), embeds)
    whole = tiny_backbone.predict(latents, torch.tensor([7, 70]), embeds)
    torch.testing.assert_close(decode(tiny_backbone, encoded, encoded.h, embeds), whole)


def test_an_edited_h_gives_what_the_hook_gives_and_gradients_end_at_h(tiny_backbone: Backbone) -> None:
    latents, t, embeds = inputs(tiny_backbone)
    vector = torch.randn(tiny_backbone.h_shape, generator=torch.Generator().manual_seed(3)).requires_grad_()
    edit = HEdit(vector=vector)
    with edit_hspace(tiny_backbone.unet, edit):
        hooked = tiny_backbone.predict(latents, t, embeds)
    encoded = encode(tiny_backbone, latents, t, embeds)
    assert not encoded.h.requires_grad
    halved = decode(tiny_backbone, encoded, edit(encoded.h), embeds)
    torch.testing.assert_close(halved, hooked)
    gradients = [torch.autograd.grad(out.square().sum(), vector)[0] for out in (halved, hooked)]
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().sum() > 0


def test_rows_and_joining(tiny_backbone: Backbone) -> None:
    encoded = encode(tiny_backbone, *inputs(tiny_backbone))
    where = torch.device("cpu"), torch.float32
    joined = Encoded.cat([encoded.index(torch.tensor(rows)).to(*where) for rows in ([2], [0, 1])])
    for name in ("h", "embedding"):
        assert torch.equal(getattr(joined, name), getattr(encoded, name)[[2, 0, 1]])
    assert all(torch.equal(a, b[[2, 0, 1]]) for a, b in zip(joined.skips, encoded.skips, strict=True))
    whole = sum(t.numel() * t.element_size() for t in (encoded.h, encoded.embedding, *encoded.skips))
    assert encoded.bytes_a_row * 3 == whole
