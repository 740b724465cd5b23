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

from hspace_exp.avatars.captions import caption
from hspace_exp.avatars.train.data import POOLS, Layers, draw_person
from hspace_exp.avatars.world import SCENES, sample_spec

CAPTIONS_PER_LATENT = 4
# How often a caption names what it need not name.
MENTION = {"subject": 0.97, "gender": 0.5, "age": 0.35, "skin_tone": 0.35, "scene": 0.7}


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


class LatentPool:
    """Latents (N, C, h, w) bf16 and caption tokens (N, captions, length) int16, on the device."""

    def __init__(self, layers: Layers, vae_folder: Path, tokenizer: object, copies: int, base_seed: int = 0) -> None:
        """Compose and encode ``copies`` images a person, with their captions."""
        started, device = time.monotonic(), layers.device
        count = len(layers.rgba)
        jobs = [(i, min(i + 500, count), copies, base_seed) for i in range(0, count, 500)]
        with get_context("spawn").Pool(min(os.cpu_count() or 1, len(jobs))) as pool:
            rows = [row for part in pool.imap(_describe_range, jobs) for row in part]
        print(f"[latents] captions after {time.monotonic() - started:.0f} s", flush=True)
        texts = sorted({text for _, captions in rows for text in captions})
        number = {text: i for i, text in enumerate(texts)}
        encoded = tokenizer(texts, padding="max_length", truncation=True, return_tensors="np").input_ids  # type: ignore[operator]
        order = np.array([[number[t] for t in captions] for _, captions in rows])
        self.tokens = torch.from_numpy(encoded.astype(np.int16)[order]).to(device)
        empty = tokenizer([""], padding="max_length", return_tensors="pt").input_ids[0]  # type: ignore[operator]
        self.empty = empty.to(device, torch.int16)

        scene = torch.tensor([s for s, _ in rows], device=device)
        instances = len(layers.scenes) // len(SCENES)
        generator = torch.Generator(device).manual_seed(base_seed)
        instance = torch.randint(instances, scene.shape, device=device, generator=generator)
        people = torch.arange(count, device=device).repeat_interleave(copies)
        vae = AutoencoderKL.from_pretrained(vae_folder).to(device, memory_format=torch.channels_last).eval()
        chunks = []
        with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16):
            for picked in torch.arange(len(scene), device=device).split(512):
                images = layers.compose(people[picked], instance[picked] * len(SCENES) + scene[picked])
                latents = vae.encode(images * 2 - 1).latent_dist.mode() * vae.config.scaling_factor
                chunks.append(latents.to(torch.bfloat16))
        self.latents = torch.cat(chunks)
        print(
            f"[latents] {len(self.latents)} latents, {len(texts)} captions, {time.monotonic() - started:.0f} s", flush=True
        )
