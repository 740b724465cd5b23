"""What the U-Net trains on: cached latents of composed images and several tokenised captions of each."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from avatars_world.captions import caption
from avatars_world.claims import MENTION_PROBABILITY
from avatars_world.specs import sample_spec
from avatars_world.train.data import POOLS, Layers, draw_person
from hspace_exp.avatars.world import SCENES

CAPTIONS_PER_LATENT = 4
# How often a caption names what it need not name.
MENTION = {**MENTION_PROBABILITY, "subject": 0.97}


def describe(index: int, copy: int, base_seed: int) -> tuple[str, list[str]]:
    """Scene and captions of composition ``copy`` of training person ``index``; pure."""
    spec, pool = draw_person(index, base_seed)
    rng = np.random.default_rng([base_seed, index, copy, 7])
    forced = POOLS[pool][1]
    if copy and "scene" not in forced:
        spec = replace(spec, scene=sample_spec(rng, spec.subject).scene)
    elif copy:
        spec = replace(spec, scene=str(rng.choice(SCENES)))
    texts = []
    for _ in range(CAPTIONS_PER_LATENT):
        mention = {name for name, p in MENTION.items() if name in forced or rng.random() < p}
        texts.append(caption(spec, rng, mention=mention))
    return spec.scene, texts


def _describe_range(job: tuple[int, int, int, int]) -> list[tuple[int, list[str]]]:
    start, stop, copies, base_seed = job
    rows = (describe(i, c, base_seed) for i in range(start, stop) for c in range(copies))
    return [(SCENES.index(scene), texts) for scene, texts in rows]


class CaptionPool:
    """Tokenised captions of every composition, made on the CPU before any image is needed.

    Attributes:
        tokens: (N, captions, length) int16.
        scene: (N,) scene class of each composition.
        empty: (length,) tokens of the empty prompt.
    """

    def __init__(self, people: int, copies: int, tokenizer: object, *, base_seed: int = 0) -> None:
        """Describe ``copies`` compositions of each of ``people`` persons."""
        started = time.monotonic()
        jobs = [(i, min(i + 500, people), copies, base_seed) for i in range(0, people, 500)]
        with get_context("spawn").Pool(min(os.cpu_count() or 1, len(jobs))) as pool:
            rows = [row for part in pool.imap(_describe_range, jobs) for row in part]
        texts = sorted({text for _, captions in rows for text in captions})
        number = {text: i for i, text in enumerate(texts)}
        encoded = tokenizer(texts, padding="max_length", truncation=True, return_tensors="np").input_ids  # type: ignore[operator]
        order = np.array([[number[t] for t in captions] for _, captions in rows])
        self.copies, self.base_seed = copies, base_seed
        self.tokens = torch.from_numpy(encoded.astype(np.int16)[order])
        self.scene = torch.tensor([s for s, _ in rows])
        self.empty = tokenizer([""], padding="max_length", return_tensors="pt").input_ids[0].to(torch.int16)  # type: ignore[operator]
        print(f"[latents] {len(texts)} captions in {time.monotonic() - started:.0f} s", flush=True)


def encode_pool(layers: Layers, captions: CaptionPool, vae_folder: Path) -> torch.Tensor:
    """Compose and encode every composition of ``captions``; (N, C, h, w) bf16 scaled latents on the layers' device."""
    started, device = time.monotonic(), layers.device
    scene = captions.scene.to(device)
    generator = torch.Generator(device).manual_seed(captions.base_seed)
    instance = torch.randint(len(layers.scenes) // len(SCENES), scene.shape, device=device, generator=generator)
    people = torch.arange(len(layers.rgba), device=device).repeat_interleave(captions.copies)
    vae = AutoencoderKL.from_pretrained(vae_folder, torch_dtype=torch.float32)
    vae.to(device, memory_format=torch.channels_last).eval()
    chunks = []
    with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16):
        for picked in torch.arange(len(scene), device=device).split(512):
            images = layers.compose(people[picked], instance[picked] * len(SCENES) + scene[picked])
            latents = vae.encode(images * 2 - 1).latent_dist.mode() * vae.config.scaling_factor
            chunks.append(latents.to(torch.bfloat16))
    print(f"[latents] {len(scene)} latents in {time.monotonic() - started:.0f} s", flush=True)
    return torch.cat(chunks)
