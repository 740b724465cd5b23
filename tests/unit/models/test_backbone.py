"""The frozen pipeline: same numbers as diffusers, frozen for good, clear errors."""

import logging
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from hspace_exp.config.checks import check_targets
from hspace_exp.errors import UserError
from hspace_exp.models.backbone import Backbone, load_backbone
from hspace_exp.models.prompts import PromptEmbeds

PROMPT = "a photo of a woman"


def test_shapes_are_read_off_the_model(tiny_backbone: Backbone) -> None:
    assert tiny_backbone.latent_shape == (4, 8, 8)
    assert tiny_backbone.h_shape == (16, 4, 4)
    assert tiny_backbone.image_size == 32
    assert (tiny_backbone.family, tiny_backbone.prediction_type) == ("sd", "v_prediction")
    assert not tiny_backbone.unet.mid_block._forward_hooks


def test_prompt_embeds_equal_diffusers(tiny_backbone: Backbone, tiny_folder: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    expected, empty = pipeline.encode_prompt(PROMPT, "cpu", 1, True)
    torch.testing.assert_close(tiny_backbone.encode_prompts([PROMPT]).encoder_hidden_states, expected)
    torch.testing.assert_close(tiny_backbone.encode_prompts([""]).encoder_hidden_states, empty)


def test_sdxl_embeds_equal_diffusers(tiny_sdxl_backbone: Backbone, tiny_sdxl_folder: Path) -> None:
    pipeline = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl_folder, add_watermarker=False)
    states, empty, pooled, empty_pooled = pipeline.encode_prompt(PROMPT, device="cpu", do_classifier_free_guidance=True)
    embeds = tiny_sdxl_backbone.encode_prompts([PROMPT, ""])
    torch.testing.assert_close(embeds.encoder_hidden_states, torch.cat([states, empty]))
    torch.testing.assert_close(embeds.pooled, torch.cat([pooled, empty_pooled]))
    assert embeds.time_ids.tolist() == [[32, 32, 0, 0, 32, 32]] * 2
    assert tiny_sdxl_backbone.h_shape == (16, 4, 4)
    assert tiny_sdxl_backbone.predict(torch.randn(2, 4, 8, 8), 5, embeds).shape == (2, 4, 8, 8)


def test_content_mask_marks_words_only(tiny_backbone: Backbone) -> None:
    mask = tiny_backbone.encode_prompts([PROMPT, ""]).content_mask
    assert mask.sum(1).tolist() == [5, 0]
    assert mask[0, 1:6].all()
    assert tiny_backbone.word_mask(PROMPT, "woman").nonzero().flatten().tolist() == [5]
    assert tiny_backbone.word_mask(PROMPT, "photo of").nonzero().flatten().tolist() == [2, 3]
    with pytest.raises(UserError, match="'man' in the prompt"):
        tiny_backbone.word_mask(PROMPT, "man")


def test_prompt_embeds_rearrange() -> None:
    embeds = PromptEmbeds(torch.arange(2.0).reshape(2, 1, 1), torch.ones(2, 1, dtype=torch.bool))
    assert embeds.expand(2).encoder_hidden_states.flatten().tolist() == [0, 1, 0, 1]
    assert len(PromptEmbeds.cat([embeds, embeds.index([1])])) == 3
    assert embeds.index([1]).pooled is None


def test_prompts_are_encoded_once(tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    encode = tiny_backbone.prompt_encoder._encode
    monkeypatch.setattr(tiny_backbone.prompt_encoder, "_encode", lambda p: calls.append(p) or encode(p))
    tiny_backbone.encode_prompts([PROMPT, "", PROMPT])
    tiny_backbone.encode_prompts([PROMPT])
    assert calls == [PROMPT, ""]


def test_too_long_prompt_is_refused_not_cut(tiny_backbone: Backbone) -> None:
    with pytest.raises(UserError, match="20 tokens, this model takes 14"):
        tiny_backbone.encode_prompts(["photo " * 20])


def test_unknown_words_are_named_once(tiny_backbone: Backbone, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        tiny_backbone.encode_prompts(["a photo of a zyx"])
        tiny_backbone.encode_prompts(["zyx photo"])
    assert [r.getMessage() for r in caplog.records if "zyx" in r.getMessage()] == [
        "words the model has never seen, spelled out letter by letter: zyx"
    ]


def test_images_and_latents_equal_diffusers(tiny_backbone: Backbone) -> None:
    images = torch.rand(2, 3, 32, 32)
    latents = tiny_backbone.encode_images(images)
    expected = tiny_backbone.vae.encode(images * 2 - 1).latent_dist.mode() * tiny_backbone.vae.config.scaling_factor
    torch.testing.assert_close(latents, expected)
    decoded = tiny_backbone.decode_latents(latents)
    assert decoded.shape == images.shape
    assert 0 <= decoded.min() <= decoded.max() <= 1
    with pytest.raises(UserError, match=r"\(B, 3, 32, 32\), got \(2, 3, 16, 16\)"):
        tiny_backbone.encode_images(images[..., :16, :16])


def test_predict_equals_the_unet_and_accepts_scalar_or_batched_timesteps(tiny_backbone: Backbone) -> None:
    latents, embeds = torch.randn(2, 4, 8, 8), tiny_backbone.encode_prompts([PROMPT, ""])
    expected = tiny_backbone.unet(latents, 7, encoder_hidden_states=embeds.encoder_hidden_states).sample
    assert torch.equal(tiny_backbone.predict(latents, 7, embeds), expected)
    assert torch.equal(tiny_backbone.predict(latents, torch.tensor([7, 7]), embeds), expected)


def test_frozen_stays_frozen(tiny_backbone: Backbone) -> None:
    parts = [tiny_backbone.unet, tiny_backbone.vae, *tiny_backbone.prompt_encoder.text_encoders]
    for part in parts:
        part.train()
        assert not any(module.training for module in part.modules())
        assert not any(p.requires_grad for p in part.parameters())


def test_revision_follows_the_weights(make_tiny_pipeline, tiny_folder: Path, tmp_path: Path) -> None:  # noqa: ANN001
    same = shutil.copytree(tiny_folder, tmp_path / "same")
    other = make_tiny_pipeline(tmp_path / "other", "epsilon", latent_size=4)
    file = next((other / "unet").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-4] + b"\x00\x00\x80\x3f")
    revision = load_backbone(tiny_folder, device="cpu").revision
    assert load_backbone(same, device="cpu").revision == revision
    assert load_backbone(other, device="cpu").revision != revision


def test_other_image_sizes(tiny_folder: Path) -> None:
    backbone = load_backbone(tiny_folder, device="cpu", image_size=64)
    assert backbone.latent_shape == (4, 16, 16)
    assert backbone.h_shape == (16, 8, 8)
    with pytest.raises(UserError, match="multiple of 4, got 30"):
        load_backbone(tiny_folder, device="cpu", image_size=30)


def test_bad_sources_give_one_line(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_backbone(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no model_index\.json"):
        load_backbone(tmp_path)
    for file, damage in (("unet/diffusion_pytorch_model.safetensors", 100), ("vae/config.json", 5)):
        broken = shutil.copytree(tiny_folder, tmp_path / file.split("/")[0])
        (broken / file).write_bytes((broken / file).read_bytes()[:damage])
        with pytest.raises(UserError, match=r"the pipeline in .* cannot be had") as caught:
            load_backbone(broken)
        assert "\n" not in str(caught.value)
    missing = shutil.copytree(tiny_folder, tmp_path / "missing")
    shutil.rmtree(missing / "vae")
    with pytest.raises(UserError, match=r"the pipeline in .* cannot be had"):
        load_backbone(missing)


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_missing_weights_do_not_stay_random(tiny_folder: Path, tmp_path: Path, part: str) -> None:
    broken = shutil.copytree(tiny_folder, tmp_path / "broken")
    file = next((broken / part).glob("*.safetensors"))
    state = load_file(file)
    del state[sorted(state)[0]]
    save_file(state, file, {"format": "pt"})
    with pytest.raises(UserError, match=f"{part} lacks 1 weights"):
        load_backbone(broken)


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_half_precision_predicts_in_float32(
    tiny_folder: Path, tiny_sdxl_folder: Path, family: str, tiny_backbone: Backbone
) -> None:
    folder = {"sd": tiny_folder, "sdxl": tiny_sdxl_folder}[family]
    half = load_backbone(folder, device="cpu", dtype="bfloat16")
    whole = load_backbone(folder, device="cpu", dtype="float32")
    latents = torch.randn(1, 4, 8, 8)
    outputs = [b.predict(latents, 300, b.encode_prompts([PROMPT])) for b in (half, whole)]
    assert outputs[0].dtype == torch.float32
    assert half.vae.dtype == torch.float32
    torch.testing.assert_close(outputs[0], outputs[1], atol=0.05, rtol=0.05)


def test_bad_settings_name_the_choices(tiny_folder: Path) -> None:
    node = {"_target_": "hspace_exp.models.backbone.load_backbone", "source": "x"}
    for name, wrong, words in (("dtype", "float23", "'float16'"), ("micro_batch_size", 0, "greater than 0")):
        with pytest.raises(UserError, match=rf"^model\.{name}={wrong}: expected .*{words}"):
            check_targets({**node, name: wrong}, "model")
    check_targets({**node, "dtype": "bfloat16", "micro_batch_size": None}, "model")
    with pytest.raises(UserError, match="expected a device"):
        load_backbone(tiny_folder, device="gpu")


@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks`:UserWarning")
def test_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="model=avatars") as caught:
        load_backbone("nobody/no-such-model")
    assert "\n" not in str(caught.value)


def test_large_images_go_through_the_vae_one_by_one(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, sizes = load_backbone(tiny_folder, device="cpu"), []
    whole = backbone.decode_latents(torch.ones(5, *backbone.latent_shape))
    honest = backbone.vae.decode
    monkeypatch.setattr(backbone.vae, "decode", lambda z: sizes.append(len(z)) or honest(z))
    monkeypatch.setattr("hspace_exp.models.backbone.VAE_PIXELS", 2 * 32**2)
    torch.testing.assert_close(backbone.decode_latents(torch.ones(5, *backbone.latent_shape)), whole)
    assert sizes == [2, 2, 1]
    assert backbone.encode_images(whole).shape == (5, *backbone.latent_shape)
