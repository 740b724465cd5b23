"""Sites of transformers: exact when off, what diffusers' pipeline does, and what the projection makes of a vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from hspace_exp import Concept, steer
from hspace_exp.errors import UserError
from hspace_exp.models.attention import cross_attention_modules, record_cross_attention
from hspace_exp.models.attention_gate import AttentionGate, open_attention_gate
from hspace_exp.models.backbone import Backbone, load_backbone
from hspace_exp.models.hspace import HEdit
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.sites import site_of
from hspace_exp.models.split import encode

# Of diffusers' schedulers with this NumPy, and its advice.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

PROMPTS = ["a photo of a woman", "a photo of a CEO"]
SIZE = {"height": 128, "width": 128, "use_resolution_binning": False, "clean_caption": False}


@pytest.fixture(scope="module")
def folder(tiny_family: Callable[[str], Path]) -> Path:
    return tiny_family("pixart")


@pytest.fixture
def backbone(folder: Path) -> Backbone:
    return load_backbone(folder, device="cpu", site="heads:2")


@pytest.fixture
def pipeline(folder: Path) -> Any:
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def predicted(backbone: Backbone, *edits: HEdit) -> Tensor:
    latents = torch.randn(2, *backbone.latent_shape, generator=torch.Generator().manual_seed(3))
    embeds = backbone.encode_prompts(PROMPTS)
    if not edits:
        return backbone.predict(latents, torch.tensor([400, 700]), embeds)
    with backbone.edited(edits[0]):
        return backbone.predict(latents, torch.tensor([400, 700]), embeds)


def test_prompts_are_encoded_as_the_pipeline_does(backbone: Backbone, pipeline: Any) -> None:
    states, mask, empty, mask_of_empty = pipeline.encode_prompt(PROMPTS[1], device="cpu", clean_caption=False)
    ours = backbone.encode_prompts([PROMPTS[1], ""])
    assert ours.attention_mask is not None
    torch.testing.assert_close(ours.encoder_hidden_states, torch.cat([states, empty]), rtol=0, atol=2e-6)
    assert torch.equal(ours.attention_mask, torch.cat([mask, mask_of_empty]))
    assert ours.content_mask.sum(1).tolist() == [5, 0]
    assert backbone.word_mask("a photo of a woman", "woman").nonzero().tolist() == [[4]]


def test_guided_sampling_is_the_pipelines_own(backbone: Backbone, pipeline: Any) -> None:
    noise = torch.randn(2, *backbone.latent_shape, generator=torch.Generator().manual_seed(3))
    options = {"num_inference_steps": 4, "guidance_scale": 6.0, "output_type": "latent", **SIZE}
    expected = pipeline(PROMPTS, latents=noise.clone(), **options).images
    backbone.guidance_scale = 6.0
    torch.testing.assert_close(
        Sampling(4)(backbone, noise, backbone.encode_prompts(PROMPTS)), expected, rtol=1e-4, atol=1e-4
    )


def test_the_default_site_is_behind_the_middle_block(folder: Path) -> None:
    backbone = load_backbone(folder, device="cpu")
    assert (backbone.site.name, backbone.h_shape, backbone.family) == ("block:1", (16, 8, 8), "t5")


def test_an_edit_of_zero_is_vanilla_bit_for_bit(backbone: Backbone) -> None:
    v = torch.randn(backbone.h_shape)
    plain = predicted(backbone)
    assert torch.equal(predicted(backbone, HEdit(v, strength=0.0)), plain)
    assert not torch.allclose(predicted(backbone, HEdit(v)), plain, atol=1e-3)
    assert torch.equal(predicted(backbone), plain)


def test_a_vector_is_what_the_projection_makes_of_it(backbone: Backbone) -> None:
    v = torch.randn(16, 1, 1)
    module = backbone.unet.transformer_blocks[2].attn2
    with_v = predicted(backbone, HEdit(v))
    moved = module.to_out[0].weight @ v[:, 0, 0]
    handle = module.register_forward_hook(lambda _, args, output: output + moved)
    expected = predicted(backbone)
    handle.remove()
    torch.testing.assert_close(with_v, expected, rtol=1e-5, atol=2e-6)


def test_a_place_of_a_spatial_vector_is_its_token(backbone: Backbone) -> None:
    v, seen = torch.zeros(backbone.h_shape), list[Tensor]()
    v[:, 3, 5] = 1.0
    module = backbone.unet.transformer_blocks[2].attn2.to_out[0]
    for edits in ((), (HEdit(v),)):
        handle = module.register_forward_hook(lambda _, args, output: seen.append(args[0]))
        predicted(backbone, *edits)
        handle.remove()
    changed = (seen[1] - seen[0])[0].abs().sum(-1)
    assert changed.nonzero().flatten().tolist() == [3 * 8 + 5]
    torch.testing.assert_close((seen[1] - seen[0])[0, 29], torch.ones(16), rtol=0, atol=1e-6)


def test_behind_a_block_a_vector_is_added_to_all_of_its_output(folder: Path) -> None:
    backbone = load_backbone(folder, device="cpu", site="block:2")
    v = torch.randn(backbone.h_shape, generator=torch.Generator().manual_seed(2))
    assert v.shape == (16, 8, 8)
    tokens = v.flatten(1).T
    handle = backbone.unet.transformer_blocks[2].register_forward_hook(lambda _, args, output: output + tokens)
    expected = predicted(backbone)
    handle.remove()
    assert torch.equal(predicted(backbone, HEdit(v)), expected)
    assert not torch.allclose(predicted(backbone), expected, atol=1e-3)


def test_several_blocks_have_their_channels_side_by_side(folder: Path) -> None:
    both = load_backbone(folder, device="cpu", site="heads:1+3")
    assert both.h_shape == (32, 8, 8)
    v, halves = torch.randn(both.h_shape), list[Tensor]()
    with both.edited(halves.append):
        predicted(both)
    of_one = []
    for block in (1, 3):
        one = load_backbone(folder, device="cpu", site=f"heads:{block}")
        with one.edited(of_one.append):
            predicted(one)
    torch.testing.assert_close(halves[0], torch.cat(of_one, 1))
    one = load_backbone(folder, device="cpu", site="heads:3")
    only_last = torch.cat([torch.zeros_like(v[:16]), v[16:]])
    torch.testing.assert_close(predicted(both, HEdit(only_last)), predicted(one, HEdit(v[16:])))
    with pytest.raises(UserError, match="acts at one block only"), both.edited(lambda h: h):
        predicted(both)


@pytest.mark.parametrize("name", ["mid_block", "heads:4", "heads:2+1", "heads:1+1", "heads:", "../x"])
def test_a_site_that_is_none_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"expected a site like heads:2, block:2 or heads:0\+3 \(of 4 blocks\)"):
        load_backbone(folder, device="cpu", site=name)


def test_a_unet_has_one_site(tiny_folder: Path) -> None:
    assert load_backbone(tiny_folder, device="cpu", site="mid_block").h_shape == (16, 4, 4)
    with pytest.raises(UserError, match="only site is mid_block, got 'heads:1'"):
        load_backbone(tiny_folder, device="cpu", site="heads:1")


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_flow_to_the_vector_alone(folder: Path, checkpointing: bool) -> None:
    backbone = load_backbone(folder, device="cpu", checkpointing=checkpointing)
    v = torch.randn(backbone.h_shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
    predicted(backbone, HEdit(v)).square().mean().backward()
    assert v.grad is not None
    assert v.grad.abs().max() > 0
    assert all(p.grad is None for p in backbone.unet.parameters())
    plain = load_backbone(folder, device="cpu")
    w = v.detach().clone().requires_grad_()
    predicted(plain, HEdit(w)).square().mean().backward()
    torch.testing.assert_close(v.grad, w.grad)


def test_h_is_reached_without_the_rest_of_the_network(backbone: Backbone) -> None:
    latents, t = torch.randn(2, *backbone.latent_shape), torch.tensor([400, 700])
    seen = list[Tensor]()
    with backbone.edited(seen.append):
        backbone.predict(latents, t, backbone.encode_prompts(PROMPTS))
    after = backbone.unet.transformer_blocks[3].register_forward_hook(lambda *_: pytest.fail("ran behind the site"))
    assert torch.equal(encode(backbone, latents, t, backbone.encode_prompts(PROMPTS)).h, seen[0])
    after.remove()


def test_attention_of_words_is_shared_with_no_padding(backbone: Backbone) -> None:
    prompt, latents = "a photo of a woman", torch.randn(2, *backbone.latent_shape)
    embeds, tokens = backbone.encode_prompts([prompt]).expand(2), backbone.word_mask(prompt, "woman").expand(2, -1)
    assert embeds.read is not None
    assert not embeds.read.all()  # there is padding
    noise = torch.randn_like(embeds.encoder_hidden_states)
    other = torch.where(embeds.read[..., None], embeds.encoder_hidden_states, noise)
    heats, gates, outputs = [], [], []
    for states in (embeds.encoder_hidden_states, other):
        text = replace(embeds, encoder_hidden_states=states)
        gate = AttentionGate(
            backbone.context(states[:1]), tokens[:1], torch.arange(2), backbone.h_shape[1:], keep=embeds.read[:1]
        )
        with (
            record_cross_attention(backbone.unet, tokens, keep=embeds.read) as record,
            open_attention_gate(backbone.unet, gate),
        ):
            outputs.append(backbone.predict(latents, 500, text))
        heats.append(record.heatmap())
        gates.append(gate())
    torch.testing.assert_close(outputs[1], outputs[0])  # the model does not read what padding says
    torch.testing.assert_close(heats[1], heats[0])
    torch.testing.assert_close(gates[1], gates[0])
    with record_cross_attention(backbone.unet, embeds.read, keep=embeds.read) as record:
        backbone.predict(latents, 500, embeds)
    share = 1 / embeds.read.sum(-1).float()  # mean over tokens that share all attention
    torch.testing.assert_close(record.heatmap(), share[:, None, None, None].expand_as(record.heatmap()))


def test_attention_is_read_on_the_grid_of_tokens(backbone: Backbone) -> None:
    mask = torch.stack([backbone.word_mask(PROMPTS[0], "woman"), backbone.word_mask(PROMPTS[0], "photo")])
    with record_cross_attention(backbone.unet, mask) as record:
        predicted(backbone)
    assert record.heatmap().shape == (2, 1, 8, 8)
    names = [name for name, _ in cross_attention_modules(backbone.unet, "before_h")]
    assert names == ["transformer_blocks.0.attn2", "transformer_blocks.1.attn2"]


def concept(vector: Tensor, site: str = "heads:2") -> Concept:
    prompts = {"positive": "a photo of a woman", "neutral": "a photo of a person", "words": "woman"}
    used = {"branch": "conditional"}
    return Concept(vector, "female", "gender", "pixart", "x", (16, 8, 8), "sdid", prompts, used, site=site)


def test_a_users_pipeline_is_steered(pipeline: Any) -> None:
    options = {"num_inference_steps": 2, "output_type": "pt", **SIZE}

    def images() -> Tensor:
        made: Tensor = pipeline(PROMPTS, generator=torch.Generator().manual_seed(0), **options).images
        return made

    plain = images()
    with steer(pipeline, [(concept(torch.randn(16, 8, 8)), 0.0)]):
        assert torch.equal(images(), plain)
    with steer(pipeline, [(concept(5 * torch.randn(16, 1, 1)), 2.0)]):
        assert not torch.allclose(images(), plain, atol=1e-3)
    assert torch.equal(images(), plain)


def test_a_concept_of_another_site_is_refused(folder: Path, backbone: Backbone, tmp_path: Path) -> None:
    one = concept(torch.randn(16, 8, 8), "heads:3")
    with pytest.raises(UserError, match=r"'pixart' at heads:3, but .* edited at heads:2: say model.site=heads:3"):
        one.check(backbone)
    one.check(load_backbone(folder, device="cpu", site="heads:3"))
    assert one.metadata()["site"] == "heads:3"
    with pytest.raises(UserError, match="site"):
        concept(torch.randn(16, 8, 8), "../../etc")


def test_the_sites_of_other_transformers_are_found() -> None:
    """SD3's and FLUX's blocks attend jointly, SANA's and PixArt's read the text in a module of its own."""
    from diffusers import FluxTransformer2DModel, SanaTransformer2DModel, SD3Transformer2DModel

    with torch.device("meta"):
        found = {
            site_of(model, (4, 4), "heads:1").modules[0]
            for model in (
                SD3Transformer2DModel(
                    num_layers=2, num_attention_heads=2, attention_head_dim=8, caption_projection_dim=16
                ),
                FluxTransformer2DModel(num_layers=2, num_single_layers=1, num_attention_heads=2, attention_head_dim=16),
                SanaTransformer2DModel(num_layers=2, num_attention_heads=2, attention_head_dim=8),
            )
        }
    assert found == {"transformer_blocks.1.attn.to_out.0", "transformer_blocks.1.attn2.to_out.0"}
