"""Pipelines of random weights in the published layout on disk: what code does with a family, without its weights."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

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
    network = "transformer" if layout.is_transformer else "unet"
    with torch.device(device):
        parts: dict[str, Any] = {
            network: getattr(diffusers, layout.network)(**layout.unet),
            "vae": getattr(diffusers, layout.autoencoder)(**layout.vae),
        }
        for i, (pad, text) in enumerate(zip(layout.pads, layout.texts, strict=True)):
            suffix = f"_{i + 1}" if i else ""
            if "d_model" in text:
                tokenizer: Any = _t5_tokenizer(words)
                encoder: torch.nn.Module = T5EncoderModel(T5Config(**text))
            elif "head_dim" in text:
                tokenizer = _gemma_tokenizer(words)
                encoder = Gemma2Model(Gemma2Config(**{**text, "vocab_size": len(tokenizer)}))
            else:
                tokenizer = _tokenizer(words, pad)
                encoder = _text_encoder(tokenizer, text, projected=layout.projected[i])
            parts |= {f"tokenizer{suffix}": tokenizer, f"text_encoder{suffix}": encoder}
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            torch.nn.Module.to(part, dtype)  # diffusers' own warns of any cast
    name, options = layout.scheduler
    parts["scheduler"] = getattr(diffusers, name)(**options)
    if layout.pipeline == "StableDiffusionPipeline":
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    if layout.pipeline == "StableDiffusionXLPipeline":
        parts |= {"add_watermarker": False}
    getattr(diffusers, layout.pipeline)(**parts).save_pretrained(folder)
    return folder


def _t5_tokenizer(words: Iterable[str]) -> T5Tokenizer:
    """T5's own class, with a token for each word and each letter."""
    known = dict.fromkeys(word for text in words for word in text.lower().split())
    pieces = [*(f"\u2581{word}" for word in known), "\u2581", *string.printable.strip()]
    vocab = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        *((piece, -float(len(known))) for piece in dict.fromkeys(pieces)),
    ]
    return T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=512)


def _gemma_tokenizer(words: Iterable[str]) -> GemmaTokenizer:
    """Gemma's own class, with a token for each word and each letter; words are merged letter by letter."""
    known = dict.fromkeys(f"\u2581{word}" for text in words for word in text.lower().split())
    merges = dict.fromkeys((word[:i], word[i]) for word in known for i in range(1, len(word)))
    special = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    pieces = (*special, "\u2581", *string.printable.strip(), "\n", *("".join(pair) for pair in merges))
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    return GemmaTokenizer(vocab=vocab, merges=list(merges))


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
