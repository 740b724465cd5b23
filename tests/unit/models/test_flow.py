"""Flow-matching transformers at tiny size: prompts, noise and sampling are what diffusers' own pipelines do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from hspace_exp import Concept, steer
from hspace_exp.errors import UserError
from hspace_exp.models.attention import cross_attention_modules
from hspace_exp.models.backbone import Backbone, backbone_of, load_backbone
from hspace_exp.models.hspace import HEdit
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.models.split import encode
from hspace_exp.training.on_policy import sample_trajectories

# Of diffusers' schedulers with this NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FAMILIES = ["sd3", "sana", "flux"]
PROMPTS = ["a photo of a woman", "a photo of a ceo"]
H_SHAPES = {"sd3": (16, 8, 8), "sana": (16, 4, 4), "flux": (32, 8, 8)}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(family: str, tiny_family: Callable[[str], Path]) -> Path:
    return tiny_family(family)


def load(folder: Path, **options: Any) -> Backbone:
    return load_backbone(folder, device="cpu", image_size=128, **options)


def pipeline_of(folder: Path) -> Any:
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def called(pipe: Any, noise: Tensor, **options: Any) -> Tensor:
    """Latents (B, C, H, W), or images, that the pipeline's call makes of noise."""
    given: dict[str, Any] = {"height": 128, "width": 128, "num_inference_steps": 4, "output_type": "latent", **options}
    if isinstance(pipe, diffusers.SanaPipeline):
        given["use_resolution_binning"] = False
    if isinstance(pipe, diffusers.FluxPipeline):
        noise = pipe._pack_latents(noise, *noise.shape)
    found: Tensor = pipe(PROMPTS, latents=noise.clone(), **given).images
    return pipe._unpack_latents(found, 128, 128, pipe.vae_scale_factor) if found.ndim == 3 else found


def test_sampling_without_an_edit_is_the_pipelines_call(folder: Path) -> None:
    backbone, pipe = load(folder), pipeline_of(folder)
    noise = torch.randn(2, *backbone.latent_shape, generator=torch.Generator().manual_seed(3))
    backbone.guidance_scale = 5.0
    latents = Sampling(4)(backbone, noise, backbone.encode_prompts(PROMPTS))
    torch.testing.assert_close(latents, called(pipe, noise, guidance_scale=5.0), rtol=0, atol=1e-5)
    images = called(pipe, noise, guidance_scale=5.0, output_type="pt")
    torch.testing.assert_close(backbone.decode_latents(latents), images, rtol=0, atol=1e-5)


def test_prompts_of_sd3_are_encoded_as_the_pipeline_does(tiny_family: Callable[[str], Path]) -> None:
    folder = tiny_family("sd3")
    pipe, ours = pipeline_of(folder), load(folder).encode_prompts([PROMPTS[0], ""])
    with torch.no_grad():
        states, empty, pooled, pooled_of_empty = pipe.encode_prompt(PROMPTS[0], None, None, device="cpu")
    assert ours.pooled is not None
    assert torch.equal(ours.encoder_hidden_states, torch.cat([states, empty]))
    assert torch.equal(ours.pooled, torch.cat([pooled, pooled_of_empty]))
    assert ours.encoder_hidden_states.shape == (2, 77 + 256, 48)
    assert ours.content_mask[0].nonzero().flatten().tolist() == [1, 2, 3, 4, 5, 77, 78, 79, 80, 81]
    mask = load(folder).word_mask(PROMPTS[0], "woman")
    assert mask.nonzero().flatten().tolist() == [5, 77 + 4]


def test_sd3_may_lack_t5(tiny_family: Callable[[str], Path], tmp_path: Path) -> None:
    pipe = diffusers.DiffusionPipeline.from_pretrained(tiny_family("sd3"), text_encoder_3=None, tokenizer_3=None)
    pipe.save_pretrained(tmp_path)
    pipe.set_progress_bar_config(disable=True)
    for backbone in (load(tmp_path), backbone_of(pipe, 5.0)):
        with torch.no_grad():
            states, _, pooled, _ = pipe.encode_prompt(PROMPTS[0], None, None, device="cpu")
        ours = backbone.encode_prompts([PROMPTS[0]])
        assert torch.equal(ours.encoder_hidden_states, states)
        assert not states[:, 77:].any()
        assert ours.pooled is not None
        assert torch.equal(ours.pooled, pooled)
        assert backbone.word_mask(PROMPTS[0], "woman").nonzero().flatten().tolist() == [5]


def test_prompts_of_flux_are_encoded_as_the_pipeline_does(tiny_family: Callable[[str], Path]) -> None:
    pipe, backbone = pipeline_of(tiny_family("flux")), load(tiny_family("flux"))
    with torch.no_grad():
        states, pooled, _ = pipe.encode_prompt(PROMPTS[0], device="cpu")
    ours = backbone.encode_prompts(PROMPTS[:1])
    assert ours.pooled is not None
    assert torch.equal(ours.encoder_hidden_states, states)
    assert torch.equal(ours.pooled, pooled)
    assert ours.content_mask[0].nonzero().flatten().tolist() == [0, 1, 2, 3, 4]
    assert backbone.word_mask(PROMPTS[0], "woman").nonzero().flatten().tolist() == [4]


def test_fluxs_guidance_is_an_input_and_runs_no_second_half(tiny_family: Callable[[str], Path]) -> None:
    backbone = load(tiny_family("flux"))
    noise, rows = torch.randn(2, *backbone.latent_shape), list[int]()
    handle = backbone.unet.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    embeds = backbone.encode_prompts(PROMPTS)
    own, weak = (Sampling(2, guidance_scale=scale)(backbone, noise, embeds) for scale in (None, 1.0))
    handle.remove()
    assert rows == [2] * 4
    assert not torch.allclose(own, weak, atol=1e-5)
    backbone.guidance_scale = 1.0
    assert torch.equal(Sampling(2)(backbone, noise, embeds), weak)
    with pytest.raises(UserError, match="multiple of 16, got 136"):
        load_backbone(tiny_family("flux"), device="cpu", image_size=136)


def test_true_guidance_of_flux_is_refused(tiny_family: Callable[[str], Path]) -> None:
    pipe, shape = pipeline_of(tiny_family("flux")), (32, 8, 8)
    one = Concept(
        torch.zeros(shape), "female", "gender", "flux", "x", shape, "sdid", {"positive": "x"}, {}, site="block:1"
    )
    noise = torch.zeros(2, 16, 16, 16)
    with pytest.raises(UserError, match="true_cfg_scale"), steer(pipe, [(one, 1.0)]):
        called(pipe, noise, true_cfg_scale=2.0, negative_prompt="x")


def test_prompts_of_sana_are_encoded_as_its_pipelines_call_does(
    tiny_family: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the instruction that the call has by default, of which one token and the prompt are read."""
    pipe, backbone, seen = pipeline_of(tiny_family("sana")), load(tiny_family("sana")), []
    honest = pipe.encode_prompt
    monkeypatch.setattr(pipe, "encode_prompt", lambda *args, **kwargs: seen.append(honest(*args, **kwargs)) or seen[0])
    called(pipe, torch.zeros(2, 32, 4, 4), num_inference_steps=1)
    ours = backbone.encode_prompts([*PROMPTS, "", ""])
    assert ours.attention_mask is not None
    states, mask, empty, mask_of_empty = seen[0]
    torch.testing.assert_close(ours.encoder_hidden_states, torch.cat([states, empty]), rtol=0, atol=1e-5)
    assert torch.equal(ours.attention_mask, torch.cat([mask, mask_of_empty]))
    assert ours.content_mask.sum(1).tolist() == [5, 5, 0, 0]
    read = ours.attention_mask[0].sum().item()
    assert ours.content_mask[0].nonzero().flatten().tolist() == list(range(read - 5, read))
    assert backbone.word_mask(PROMPTS[0], "woman").nonzero().flatten().tolist() == [read - 1]
    with pytest.raises(UserError, match="name words that it contains"):
        backbone.word_mask(PROMPTS[0], "man")


def test_a_prompt_that_one_encoder_does_not_take_whole_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="nothing is cut off silently"):
        load(folder).encode_prompts(["a photo of a woman " * 100])


def test_noise_is_mixed_along_a_straight_line(folder: Path) -> None:
    backbone = load(folder)
    drawn = torch.tensor([0, 99, 500, 999])
    t = backbone.noising.times(drawn)
    shift = backbone.noising.shift
    for i, whole in enumerate(drawn.tolist()):  # by hand: sigma evenly, then shifted towards noise
        sigma = (whole + 1) / 1000
        assert t[i].item() == pytest.approx(1000 * shift * sigma / (1 + (shift - 1) * sigma), rel=1e-6)
    x, eps = torch.randn(4, *backbone.latent_shape), torch.randn(4, *backbone.latent_shape)
    sigma = (t / 1000)[:, None, None, None]
    z = backbone.add_noise(x, eps, t)
    torch.testing.assert_close(z, (1 - sigma) * x + sigma * eps)
    v = backbone.training_target(x, eps, t)
    assert torch.equal(v, eps - x)
    torch.testing.assert_close(backbone.noise_prediction(v, z, t), eps, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(z - sigma * v, x, rtol=1e-5, atol=1e-5)  # what a sampler takes for the image


def test_training_timesteps_of_sd3_are_those_of_its_scheduler(tiny_family: Callable[[str], Path]) -> None:
    backbone = load(tiny_family("sd3"))
    assert backbone.noising.shift == 3.0
    times = backbone.noising.times(torch.arange(1000))
    torch.testing.assert_close(times, backbone.scheduler.timesteps.flip(0), rtol=1e-5, atol=1e-3)


def test_states_of_runs_are_kept_with_their_own_timesteps(folder: Path) -> None:
    backbone = load(folder)
    found = sample_trajectories(backbone, Sampling(3), [(PROMPTS[0], 0), (PROMPTS[1], 0)], image_seed=0)
    scheduler = backbone.scheduler
    backbone.noising.start(scheduler, 3, backbone.device)
    assert found["timesteps"].dtype == torch.float32
    assert torch.equal(found["timesteps"], scheduler.timesteps.float().expand(2, -1))


@pytest.mark.parametrize("kind", ["ddim", "dpm"])
def test_samplers_of_other_noise_are_refused(folder: Path, kind: Any) -> None:
    with pytest.raises(UserError, match=f"by its own scheduler alone: scheduler=native, not {kind}"):
        make_scheduler(load(folder).scheduler, kind)


@pytest.mark.parametrize("site", ["block:1", "heads:1", "heads:0+2"])
def test_a_vector_acts_at_a_site_and_an_edit_of_zero_is_vanilla(family: str, folder: Path, site: str) -> None:
    backbone = load(folder, site=site, checkpointing=True)
    channels = H_SHAPES[family][0] * len(backbone.site.modules)
    assert backbone.h_shape == (channels, *H_SHAPES[family][1:])
    latents = torch.randn(2, *backbone.latent_shape, generator=torch.Generator().manual_seed(3))
    given = latents, torch.tensor([400.5, 700.25]), backbone.encode_prompts(PROMPTS)
    plain = backbone.predict(*given)
    assert plain.shape == latents.shape
    v = torch.randn(backbone.h_shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
    with backbone.edited(HEdit(v, strength=0.0)):
        assert torch.equal(backbone.predict(*given), plain)
    with backbone.edited(HEdit(v)):
        moved = backbone.predict(*given)
    assert not torch.allclose(moved, plain, atol=1e-4)
    moved.square().mean().backward()
    assert v.grad is not None
    assert v.grad.flatten(1).abs().amax(1).min() > 0
    seen = list[Tensor]()
    with backbone.edited(seen.append):
        backbone.predict(*given)
    assert torch.equal(encode(backbone, *given).h, seen[0])


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_joint_attention_is_not_read(tiny_family: Callable[[str], Path], name: str) -> None:
    with pytest.raises(UserError, match=r"attend jointly here: use .* focused_no_gate"):
        cross_attention_modules(load(tiny_family(name)).unet)


def test_a_users_pipeline_is_steered(family: str, folder: Path) -> None:
    pipe, backbone = pipeline_of(folder), load(folder)
    noise = torch.randn(2, *backbone.latent_shape, generator=torch.Generator().manual_seed(3))
    shape, used = H_SHAPES[family], {"branch": "conditional"}
    prompts = {"positive": "a photo of a woman", "neutral": "a photo of a person", "words": "woman"}
    vector = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    one = Concept(vector, "female", "gender", family, "x", shape, "sdid", prompts, used, site="block:1")
    plain = called(pipe, noise, guidance_scale=5.0)
    with steer(pipe, [(one, 0.0)]):
        assert torch.equal(called(pipe, noise, guidance_scale=5.0), plain)
    with steer(pipe, [(one, 2.0)]):
        steered = called(pipe, noise, guidance_scale=5.0)
    assert torch.equal(called(pipe, noise, guidance_scale=5.0), plain)
    assert not torch.allclose(steered, plain, atol=1e-3)
    guided, rows = family != "flux", vector.expand(2, -1, -1, -1)
    backbone.guidance_scale = 5.0
    edit = HEdit(rows, strength=2.0, guided=guided, branch="conditional")
    ours = Sampling(4)(backbone, noise, backbone.encode_prompts(PROMPTS), lambda done: backbone.edited(edit))
    torch.testing.assert_close(steered, ours, rtol=0, atol=1e-5)
