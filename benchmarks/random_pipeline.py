"""Pipelines of random weights in the published layout on disk: what code does with a family, without its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from avatars_world.tokenizer import train_tokenizer
from benchmarks.layouts import Layout

MAX_LENGTH = 77


def save_random_pipeline(
    layout: Layout, folder: Path, words: Iterable[str], *, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> Path:
    """Save a pipeline that every loader takes for a real one.

    Args:
        layout: of ``LAYOUTS``, or ``tiny`` of one.
        folder: where to.
        words: texts whose words get a token of their own; the rest is spelled out.
        dtype: of the files.
        device: where the weights are drawn.

    Returns:
        the folder.
    """
    torch.manual_seed(0)
    tokenizers = [_tokenizer(words, pad) for pad in layout.pads]
    with torch.device(device):
        parts: dict[str, Any] = {
            "unet": diffusers.UNet2DConditionModel(**layout.unet),
            "vae": diffusers.AutoencoderKL(**layout.vae),
        }
        for i, (tokenizer, text) in enumerate(zip(tokenizers, layout.texts, strict=True)):
            suffix = f"_{i + 1}" if i else ""
            parts[f"tokenizer{suffix}"] = tokenizer
            parts[f"text_encoder{suffix}"] = _text_encoder(tokenizer, text, projected=bool(i))
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            torch.nn.Module.to(part, dtype)  # diffusers' own warns of any cast
    name, options = layout.scheduler
    parts["scheduler"] = getattr(diffusers, name)(**options)
    if len(tokenizers) == 1:
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    else:
        parts |= {"add_watermarker": False}
    getattr(diffusers, layout.pipeline)(**parts).save_pretrained(folder)
    return folder


def _tokenizer(words: Iterable[str], pad: str | None) -> CLIPTokenizer:
    tokenizer = train_tokenizer(words, max_length=MAX_LENGTH)
    if pad is not None:
        tokenizer.pad_token = pad
    return tokenizer


def _text_encoder(tokenizer: CLIPTokenizer, text: Mapping[str, Any], *, projected: bool) -> torch.nn.Module:
    """At full width over the tokenizer's own vocabulary."""
    config = CLIPTextConfig(
        **{
            **text,
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
    )
    return CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)
