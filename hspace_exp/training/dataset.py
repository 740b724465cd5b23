"""x+: images of a concept with their latents and attention heatmaps, made once and shared through the cache."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hspace_exp.io.atomic import save_safetensors, write_json
from hspace_exp.io.images import load_images, missing, save_all
from hspace_exp.io.progress import track
from hspace_exp.io.seeding import initial_noise
from hspace_exp.masks import MaskProvider
from hspace_exp.methods.task import Trajectories
from hspace_exp.models.attention import record_cross_attention
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.training.on_policy import in_turn

log = logging.getLogger(__name__)

# Written at once, so at most this many images are lost when a run is stopped.
BLOCK = 32
_DECODED = 8

Block = Mapping[str, Tensor]
MakeBlock = Callable[[Sequence[int]], Block]


@dataclass(frozen=True)
class Positives:
    """N images of one concept.

    Attributes:
        folder: where they are cached.
        latents: (N, C, H, W) float32 scaled latents.
        images: files of the images.
        heatmaps: (N, 1, h, w) attention that the attribute words got, where the images were generated.
        exact: (N, 1, S, S) maps, where the mask provider made the images and knows them.
    """

    folder: Path
    latents: Tensor
    images: tuple[Path, ...]
    heatmaps: Tensor | None = None
    exact: Tensor | None = None


@torch.no_grad()
def sample_block(
    backbone: Backbone, sampling: Sampling, prompt: str, words: str, indices: Sequence[int], image_seed: int
) -> Block:
    """Latents of generated images and the attention that ``words`` got, averaged over layers and steps."""
    found: dict[str, list[Tensor]] = {"latents": [], "heatmaps": []}
    for start in range(0, len(indices), sampling.chunk_size):
        chunk = indices[start : start + sampling.chunk_size]
        noise = torch.stack([initial_noise(prompt, i, backbone.latent_shape, image_seed) for i in chunk])
        embeds = backbone.encode_prompts([prompt]).expand(len(chunk))
        tokens = backbone.word_mask(prompt, words).expand(len(chunk), -1)
        guided = backbone.guidance_scale > 1
        with record_cross_attention(backbone.unet, tokens, guided=guided) as record:
            found["latents"].append(sampling(backbone, noise, embeds).cpu())
        found["heatmaps"].append(record.heatmap().cpu())
    return {name: torch.cat(parts) for name, parts in found.items()}


def positives(
    backbone: Backbone,
    folder: Path,
    count: int,
    make_block: MakeBlock,
    about: dict[str, Any],
    description: str = "images of a concept",
) -> Positives:
    """Make, or read from the cache, the first ``count`` images of a concept.

    Args:
        backbone: decodes the images.
        folder: their place in the cache.
        count: how many.
        make_block: makes the tensors of some indices, e.g. ``sample_block`` with settings bound.
        about: what made them, written to ``manifest.json``.
        description: for the progress bar.
    """
    blocks = []
    for indices, block in cached_blocks(folder, count, make_block, description):
        files = [_image(folder, i) for i in indices]
        absent = set(missing(files))
        for first in range(0, len(files), _DECODED):  # whole chunks, so that a repaired image is the very same
            chunk = files[first : first + _DECODED]
            rows = [row for row, file in enumerate(chunk) if file in absent]
            if rows:
                images = backbone.decode_latents(block["latents"][first : first + len(chunk)])
                save_all([chunk[row] for row in rows], images[rows])
        blocks.append(block)
    write_json(folder / "manifest.json", {**about, "images": count})
    joined = {name: torch.cat([block[name] for block in blocks]) for name in blocks[0]}
    return Positives(
        folder,
        joined["latents"],
        tuple(_image(folder, i) for i in range(count)),
        joined.get("heatmaps"),
        joined.get("exact"),
    )


def cached_blocks(folder: Path, count: int, make_block: MakeBlock, description: str) -> Iterator[tuple[range, Block]]:
    """Indices and tensors of the first ``count`` items, block by block, made and written where they are not there."""
    for indices in track(_blocks(count), description=description):
        path = _block(folder, indices)
        block = _read(path, len(indices))
        if block is None:
            block = make_block(indices)
            save_safetensors(path, block)
        yield indices, {name: tensor[: len(indices)] for name, tensor in block.items()}


def trajectories(
    folders: Mapping[tuple[str, ...], Path],
    count: int,
    make: Callable[[Sequence[tuple[str, int]]], Block],
    at_once: int = BLOCK,
) -> dict[tuple[str, ...], Trajectories]:
    """Make, or read from the cache, the first ``count`` sampling runs of each of some lists of prompts.

    Blocks that are missing are made together, whichever list they are of: small ones alone leave a GPU idle.

    Args:
        folders: the prompts that runs are of, see ``in_turn``, and their place in the cache.
        count: how many of each.
        make: makes the tensors of some runs, each named by its prompt and the index of its noise.
        at_once: runs that are made together, where that is more than a block's.
    """
    found: dict[Path, Block] = {}
    lacking: list[tuple[Path, list[tuple[str, int]]]] = []
    for prompts, folder in folders.items():
        for indices in _blocks(count):
            path = _block(folder, indices)
            block = _read(path, len(indices))
            if block is None:
                lacking.append((path, in_turn(prompts, indices)))
            else:
                found[path] = {name: tensor[: len(indices)] for name, tensor in block.items()}
    size = max(1, at_once // BLOCK)
    together = [lacking[first : first + size] for first in range(0, len(lacking), size)]
    for group in track(together, description=f"runs of {len(folders)} kinds of prompts"):
        made = make([run for _, runs in group for run in runs])
        first = 0
        for path, runs in group:
            found[path] = {name: tensor[first : first + len(runs)].clone() for name, tensor in made.items()}
            save_safetensors(path, found[path])
            first += len(runs)
    joined = {}
    for prompts, folder in folders.items():
        blocks = [found[_block(folder, indices)] for indices in _blocks(count)]
        joined[prompts] = Trajectories(
            *(torch.cat([block[name] for block in blocks]) for name in ("latents", "timesteps"))
        )
    return joined


def attribute_maps(
    found: Positives,
    provider: MaskProvider,
    path: Path,
    description: str = "attribute maps",
    heat: Callable[[Sequence[int]], Tensor] | None = None,
) -> tuple[Tensor, float]:
    """(N, 1, S, S) uint8 maps of 0 … 255 of x+, made once and kept at ``path``, and the seconds that an image took.

    Args:
        found: x+.
        provider: makes the maps.
        path: of the file.
        description: for the progress bar.
        heat: makes the heatmaps of some indices; None takes the attention recorded while x+ was generated.
    """
    cached = _read(path, len(found.images))
    if cached is not None and "seconds" in cached:
        return cached["maps"][: len(found.images)], float(cached["seconds"][0])
    maps, started = [], time.monotonic()
    for indices in track(_blocks(len(found.images)), description=description):
        rows = slice(indices.start, indices.stop)
        if found.exact is None:
            recorded = None if found.heatmaps is None else found.heatmaps[rows]
            some = provider.maps(load_images(found.images[rows]), recorded if heat is None else heat(indices))
        else:
            some = found.exact[rows]
        maps.append((some * 255).round().byte().cpu())
    joined, seconds = torch.cat(maps), (time.monotonic() - started) / len(found.images)
    save_safetensors(path, {"maps": joined, "seconds": torch.full((len(joined),), seconds)})
    return joined, seconds


def _blocks(count: int) -> list[range]:
    return [range(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]


def _block(folder: Path, indices: range) -> Path:
    return folder / f"block-{indices.start:06d}.safetensors"


def _image(folder: Path, index: int) -> Path:
    return folder / "images" / f"{index:06d}.png"


def _read(path: Path, rows: int) -> Block | None:
    """Tensors of a cached file with at least ``rows`` rows; None where it must be made."""
    if not path.exists():
        return None
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError):
        log.warning("%s is damaged: it is made again", path)
        return None
    return tensors if tensors and min(len(t) for t in tensors.values()) >= rows else None
