"""The transformer's stage at tiny size, with the shipped text encoder: it trains, is saved, and read by diffusers."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import PixArtTransformer2DModel

from avatars_world.architecture import build_scheduler, build_transformer
from avatars_world.train.denoising import Training, velocity_loss
from avatars_world.train.dit import load_text, load_transformer, predict, train_dit
from avatars_world.train.save import save_weights
from hspace_exp.avatars import EMBEDDED
from hspace_exp.errors import UserError

CPU = torch.device("cpu")


def train(out: Path, **options: Any) -> None:
    """Four steps on four latents of noise."""
    tokenizer, text_encoder = load_text(EMBEDDED, CPU)

    def ids(texts: list[str]) -> torch.Tensor:
        return tokenizer(texts, padding="max_length", return_tensors="pt").input_ids.to(torch.int16)

    tokens = ids(["a doctor", "a nurse", "a woman", "a man", "a cook", "a baker", "a photo", "a person"])
    captions: Any = SimpleNamespace(tokens=tokens.view(4, 2, -1), empty=ids([""])[0])
    pool = torch.randn(4, 16, 16, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    how = Training(CPU, batch=4, max_seconds=1e9, max_steps=4, compiled=False, **options)
    train_dit(captions, lambda: pool, text_encoder, out, how, size="tiny")


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    latents, context = (torch.randn(3, *shape, generator=generator) for shape in ((16, 16, 16), (24, 192)))
    return latents, torch.tensor([3, 500, 999]), context


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dit")
    train(out)
    return out


def test_it_has_less_than_three_million_parameters_and_64_tokens() -> None:
    with torch.device("meta"):
        model: Any = build_transformer()
    assert sum(p.numel() for p in model.parameters()) == 2_774_944
    assert model.pos_embed.pos_embed.shape == (1, 64, 160)
    assert model.config.out_channels == 16


def test_it_starts_from_zero_and_text_reaches_it_after_a_step(trained: Path) -> None:
    latents, t, context = inputs()
    model = load_transformer(trained, CPU)
    with torch.no_grad():
        assert predict(build_transformer("tiny"), latents, t, context).count_nonzero() == 0
        assert (predict(model, latents, t, context) - predict(model, latents, t, -context)).abs().max() > 1e-6


def test_saved_it_is_what_diffusers_reads(trained: Path, tmp_path: Path) -> None:
    save_weights(trained, tmp_path)
    model: Any = PixArtTransformer2DModel.from_pretrained(
        tmp_path, subfolder="transformer", torch_dtype=torch.float32, use_safetensors=True
    )
    half: Any = PixArtTransformer2DModel.from_pretrained(tmp_path / "transformer", torch_dtype=torch.float16)
    assert {p.dtype for p in half.parameters()} == {torch.float16}
    latents, t, context = inputs()
    with torch.no_grad():
        mine = predict(load_transformer(trained, CPU), latents, t, context)
        theirs = model(latents, context, timestep=t, encoder_attention_mask=torch.ones(3, 24)).sample
    assert mine.abs().max() > 1e-3
    torch.testing.assert_close(theirs, mine, rtol=2e-3, atol=2e-3 * float(mine.abs().max()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model_index.json", "transformer"]
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["transformer"] == ["diffusers", "PixArtTransformer2DModel"]


def test_parts_of_the_u_net_are_left_alone(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    for name in ("model_index.json", "unet/config.json"):
        (tmp_path / name).write_text("of the U-Net")
    save_weights(trained, tmp_path)
    assert (tmp_path / "transformer" / "diffusion_pytorch_model.safetensors").exists()
    assert {(tmp_path / name).read_text() for name in ("model_index.json", "unet/config.json")} == {"of the U-Net"}


def test_training_is_seeded_and_goes_on_from_what_is_there(trained: Path, tmp_path: Path) -> None:
    train(tmp_path)
    name = "transformer/diffusion_pytorch_model.safetensors"
    first = (tmp_path / name).read_bytes()
    assert first == (trained / name).read_bytes()
    # Nearly no learning: what comes out is what was there, not a new start.
    train(tmp_path, seed=1, peak=1e-9)
    latents, t, context = inputs()
    with torch.no_grad():
        before, after = (predict(load_transformer(out, CPU), latents, t, context) for out in (trained, tmp_path))
    assert (tmp_path / name).read_bytes() != first
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_text_encoder_is_that_of_the_pipeline_and_frozen() -> None:
    _, text_encoder = load_text(EMBEDDED, CPU)
    assert not any(p.requires_grad for p in text_encoder.parameters())
    assert {p.dtype for p in text_encoder.parameters()} == {torch.float32}


def test_missing_folders_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the transformer in .* --stage dit,save"):
        load_transformer(tmp_path, CPU)
    with pytest.raises(UserError, match="set pipeline=FOLDER"):
        load_text(tmp_path / "none", CPU)


def test_loss_is_that_of_diffusers_velocity() -> None:
    latents, t, eps = inputs()[0], torch.tensor([0, 400, 999]), torch.randn(3, 16, 16, 16)
    scheduler: Any = build_scheduler()
    seen = []

    def zero(z: torch.Tensor) -> torch.Tensor:
        seen.append(z)
        return torch.zeros_like(z)

    loss = velocity_loss(zero, latents, eps, scheduler.alphas_cumprod[t])
    torch.testing.assert_close(seen[0], scheduler.add_noise(latents, eps, t))
    torch.testing.assert_close(loss, scheduler.get_velocity(latents, eps, t).square().mean())
