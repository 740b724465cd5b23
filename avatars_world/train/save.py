"""Stage ``save``: gather what was trained into one folder in Stable Diffusion's own layout, fp16, files under 16 MB."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel

from avatars_world.architecture import build_scheduler
from avatars_world.captions import VOCABULARY_TEXT
from avatars_world.tokenizer import train_tokenizer
from avatars_world.train.dit import load_transformer
from avatars_world.train.loop import save_model
from hspace_exp.io.atomic import write_json

SHARD = "15MB"
# The parts that a pipeline with the transformer has, in diffusers' own form; all but the transformer are the U-Net's.
TRANSFORMER_INDEX = {
    "_class_name": "PixArtAlphaPipeline",
    "_diffusers_version": diffusers.__version__,
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "transformer": ["diffusers", "PixArtTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def save_weights(source: Path, target: Path) -> None:
    """Write the pipeline, and copy the judges and SAM beside it.

    Args:
        source: folder of the stages' results (``unet``, ``vae``, ``text_encoder``, ``transformer``, ``clip``,
            ``sam``, ``probe.safetensors``).
        target: the weights folder; parts that ``source`` lacks are left as they are.
    """
    target.mkdir(parents=True, exist_ok=True)
    if (source / "unet").exists():
        pipeline = StableDiffusionPipeline(
            vae=AutoencoderKL.from_pretrained(source / "vae", torch_dtype=torch.float32),
            text_encoder=CLIPTextModel.from_pretrained(source / "text_encoder", dtype=torch.float32),
            tokenizer=train_tokenizer(VOCABULARY_TEXT),
            unet=UNet2DConditionModel.from_pretrained(source / "unet", torch_dtype=torch.float32),
            scheduler=build_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).to(dtype=torch.float16)
        for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
            shutil.rmtree(target / part, ignore_errors=True)
        pipeline.save_pretrained(target, safe_serialization=True, max_shard_size=SHARD)
        # transformers would load half precision as it is, diffusers as float32: a pipeline of both would not run.
        config = target / "text_encoder" / "config.json"
        write_json(config, {**json.loads(config.read_text()), "dtype": "float32"})
    if (source / "transformer").exists():
        save_transformer(source, target)
    for name in ("clip", "sam"):
        if (source / name).exists():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
    if (source / "probe.safetensors").exists():
        shutil.copy2(source / "probe.safetensors", target / "probe.safetensors")


def save_transformer(source: Path, target: Path) -> None:
    """Write ``target/transformer`` in float16, and a ``model_index.json`` where there is none yet.

    Nothing else in ``target`` is touched: an index that is there is the U-Net's, whose other parts are shared.
    """
    save_model(load_transformer(source, torch.device("cpu")).half(), target / "transformer")
    if not (target / "model_index.json").exists():
        write_json(target / "model_index.json", TRANSFORMER_INDEX)
