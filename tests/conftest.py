"""Fixtures shared by all tests: tiny pipelines in the real diffusers layout, built here and never downloaded."""

from __future__ import annotations

import functools
import gc
import io
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
import yaml
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from omegaconf import OmegaConf
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from avatars_world.tokenizer import train_tokenizer
from benchmarks.layouts import LAYOUTS, tiny
from benchmarks.random_pipeline import save_random_pipeline
from hspace_exp.models.backbone import Backbone, load_backbone

TINY_WORDS = (
    "a photo of an the image picture headshot portrait person woman man female male young old successful "
    "light tan dark skin skinned nurse doctor carpenter ceo in forest city office smiling , - . "
    "mechanic sheriff developer lawyer writer teacher librarian secretary"
)


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: the collector of garbage looks at the rest alone, and rarely.

    Of all the time of the tests, it took a twentieth.
    """
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


def pytest_unconfigure() -> None:
    """At the end all of it may go."""
    gc.unfreeze()


def parsing_once() -> Callable[..., Any]:
    """``OmegaConf.load``, which parses a text once in a process: Hydra reads forty files for each composition."""
    honest = OmegaConf.load
    pickled = functools.cache(lambda text: pickle.dumps(honest(io.StringIO(text))))

    def load(file: str | Path | IO[str]) -> Any:
        text = Path(file).read_text(encoding="utf-8") if isinstance(file, str | Path) else file.read()
        try:
            return pickle.loads(pickled(text))
        except yaml.YAMLError:
            if not isinstance(file, str | Path):
                file.seek(0)
            return honest(file)  # whose error names the file

    return load


@pytest.fixture(scope="session", autouse=True)
def _texts_are_parsed_once() -> Iterator[None]:
    """Of hundreds of compositions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmegaConf, "load", staticmethod(parsing_once()))
        yield


def build_tiny_pipeline(
    folder: Path, prediction_type: str = "v_prediction", family: str = "sd", latent_size: int = 8
) -> Path:
    """Save a random pipeline of the embedded model's layout: h = (16, latent_size / 2, latent_size / 2), f4 VAE."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer([TINY_WORDS], max_length=16)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        projection_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    xl = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 64}
    unet = UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        cross_attention_dim=32 if family == "sdxl" else 16,
        attention_head_dim=2,
        norm_num_groups=4,
        use_linear_projection=True,
        **(xl if family == "sdxl" else {}),
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=4 * latent_size,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type=prediction_type,
        rescale_betas_zero_snr=prediction_type == "v_prediction",
        timestep_spacing="trailing",
        steps_offset=1,
    )
    if family == "sdxl":
        pipeline = StableDiffusionXLPipeline(
            vae=vae,
            text_encoder=CLIPTextModel(text),
            text_encoder_2=CLIPTextModelWithProjection(text),
            tokenizer=tokenizer,
            tokenizer_2=tokenizer,
            unet=unet,
            scheduler=scheduler,
            add_watermarker=False,
        )
    else:
        pipeline = StableDiffusionPipeline(
            vae=vae,
            text_encoder=CLIPTextModel(text),
            tokenizer=tokenizer,
            unet=unet,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_tiny_pipeline() -> Callable[..., Path]:
    """``build_tiny_pipeline``, for tests that need their own variant."""
    return build_tiny_pipeline


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A v-prediction Stable Diffusion pipeline on disk; h = (16, 4, 4), images of 32 px."""
    return build_tiny_pipeline(tmp_path_factory.mktemp("tiny") / "v")


@pytest.fixture(scope="session")
def tiny_epsilon_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with epsilon prediction."""
    return build_tiny_pipeline(tmp_path_factory.mktemp("tiny") / "epsilon", "epsilon")


@pytest.fixture(scope="session")
def tiny_sdxl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SDXL pipeline on disk: two text encoders, pooled features, time ids."""
    return build_tiny_pipeline(tmp_path_factory.mktemp("tiny") / "xl", "epsilon", "sdxl")


@pytest.fixture(scope="session")
def tiny_family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a published family (``sd14``, ``sd21``, ``sdxl``) with its own blocks at tiny widths; 128 px."""
    folder = tmp_path_factory.mktemp("families")
    return functools.cache(lambda name: save_random_pipeline(tiny(LAYOUTS[name]), folder / name, [TINY_WORDS]))


@pytest.fixture
def tiny_backbone(tiny_folder: Path) -> Backbone:
    """The v-prediction pipeline, loaded on the CPU."""
    return load_backbone(tiny_folder, device="cpu")


@pytest.fixture
def tiny_epsilon_backbone(tiny_epsilon_folder: Path) -> Backbone:
    """The epsilon-prediction pipeline, loaded on the CPU."""
    return load_backbone(tiny_epsilon_folder, device="cpu")


@pytest.fixture
def tiny_sdxl_backbone(tiny_sdxl_folder: Path) -> Backbone:
    """The SDXL pipeline, loaded on the CPU."""
    return load_backbone(tiny_sdxl_folder, device="cpu")


@pytest.fixture(scope="session")
def deep_unet() -> UNet2DConditionModel:
    """Cross-attention at two encoder levels, the middle and the decoder, on 9 x 6 latents."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=(9, 6),
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    return unet.eval().requires_grad_(False)
