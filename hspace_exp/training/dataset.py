"""x+: images of a concept with their latents and attention heatmaps, made once and shared through the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor

from hspace_exp.io.atomic import save_safetensors, write_json
from hspace_exp.io.checksums import clear, is_sound, note
from hspace_exp.io.images import load_images, missing, save_all
from hspace_exp.io.progress import track
from hspace_exp.io.seeding import LEARNING, initial_noise
from hspace_exp.masks import MaskProvider
from hspace_exp.models.attention import record_cross_attention
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.sites import attends_jointly

# Written at once, so at most this many images are lost when a run is stopped.
BLOCK = 32
_DECODED = 8

Block = Mapping[str, Tensor]
Row = TypeVar("Row")


@dataclass(frozen=True)
class Positives:
    """N images of one concept."""

    latents: Tensor  # (N, C, H, W) float32 scaled latents
    images: tuple[Path, ...]  # files of the images
    # (N, 1, h, w) attention that the attribute words got, where the images were generated
    heatmaps: Tensor | None = None
    exact: Tensor | None = None  # (N, 1, S, S) maps, where the mask provider made the images and knows them


@torch.no_grad()
def sample_block(
    backbone: Backbone, sampling: Sampling, prompt: str, words: str, indices: Sequence[int], image_seed: int
) -> Block:
    """Latents of images and the attention that ``words`` got, mean over layers and steps, where text has its own."""
    found: dict[str, list[Tensor]] = {"latents": [], "heatmaps": []}
    for start in range(0, len(indices), sampling.chunk_size):
        chunk = indices[start : start + sampling.chunk_size]
        noise = torch.stack([initial_noise(prompt, i, backbone.latent_shape, image_seed, LEARNING) for i in chunk])
        embeds = backbone.encode_prompts([prompt]).expand(len(chunk))
        tokens = backbone.word_mask(prompt, words).expand(len(chunk), -1)
        own, guided = not attends_jointly(backbone.unet), sampling.guided(backbone)
        recorded = record_cross_attention(backbone.unet, tokens, keep=embeds.read, guided=guided)
        with recorded if own else nullcontext() as record:
            found["latents"].append(sampling(backbone, noise, embeds).cpu())
        if record is not None:
            found["heatmaps"].append(record.heatmap().cpu())
    return {name: torch.cat(parts) for name, parts in found.items() if parts}


def positives(
    backbone: Backbone,
    folder: Path,
    count: int,
    make_block: Callable[[Sequence[int]], Block],
    about: dict[str, Any],
    description: str = "images of a concept",
) -> Positives:
    """Make, or read from the cache, the first ``count`` images of a concept.

    ``make_block`` makes the tensors of some indices, e.g. ``sample_block`` with settings bound; ``about`` goes into
    ``manifest.json``, beside the images in ``folder``.
    """
    made = cached({folder: range(count)}, make_block, description)[folder]
    files = [folder / "images" / f"{i:06d}.png" for i in range(count)]
    absent = set(missing(files, folder.name))
    for first in range(0, count, _DECODED):  # whole chunks, so that a repaired image is the very same
        chunk = files[first : first + _DECODED]
        rows = [row for row, file in enumerate(chunk) if file in absent]
        if rows:
            images = backbone.decode_latents(made["latents"][first : first + _DECODED])
            save_all([chunk[row] for row in rows], images[rows], folder.name)
    clear(folder / "manifest.json")
    write_json(folder / "manifest.json", {**about, "images": count})
    return Positives(made["latents"], tuple(files), made.get("heatmaps"), made.get("exact"))


def cached(
    wanted: Mapping[Path, Sequence[Row]], make: Callable[[Sequence[Row]], Block], description: str, at_once: int = 0
) -> dict[Path, Block]:
    """Tensors with the wanted rows of each folder, kept there in blocks that are made and written where they lack.

    Blocks that are missing are made together, whichever folder they are of: small ones alone leave a GPU idle.
    ``wanted`` tells what each row of a folder is of, which may hold more rows; ``at_once`` is how many rows are made
    together, where that is more than a block's.
    """
    rows = {
        folder / f"block-{start:06d}.safetensors": every[start : start + BLOCK]
        for folder, every in wanted.items()
        for start in range(0, len(every), BLOCK)
    }
    found = {path: block for path, some in rows.items() if (block := _read(path, len(some))) is not None}
    lacking = [path for path in rows if path not in found]
    size = max(1, at_once // BLOCK)
    for paths in track([lacking[i : i + size] for i in range(0, len(lacking), size)], description=description):
        made = make([row for path in paths for row in rows[path]])
        parts = {name: tensor.split([len(rows[path]) for path in paths]) for name, tensor in made.items()}
        for i, path in enumerate(paths):
            block = found[path] = {name: some[i].clone() for name, some in parts.items()}
            save_safetensors(path, block)
            note(path.parent, path)
    joined: dict[Path, Block] = {}
    for folder in wanted:
        own = [(found[path], len(some)) for path, some in rows.items() if path.parent == folder]
        joined[folder] = {name: torch.cat([block[name][:count] for block, count in own]) for name in own[0][0]}
    return joined


def attribute_maps(
    found: Positives,
    provider: MaskProvider,
    path: Path,
    description: str = "attribute maps",
    heat: Callable[[Sequence[int]], Tensor] | None = None,
) -> Tensor:
    """(N, 1, S, S) uint8 maps of 0 … 255 of x+, made once and kept at ``path``.

    ``heat`` makes the heatmaps of some indices; None takes the attention recorded while x+ was generated.
    """
    count = len(found.images)
    if (there := _read(path, count)) is not None:
        return there["maps"][:count]
    maps = []
    for start in track(range(0, count, BLOCK), description=description):
        indices = range(start, min(start + BLOCK, count))
        if found.exact is None:
            recorded = None if found.heatmaps is None else found.heatmaps[start : start + BLOCK]
            images = load_images(found.images[start : start + BLOCK])
            some = provider.maps(images, recorded if heat is None else heat(indices))
        else:
            some = found.exact[start : start + BLOCK]
        maps.append((some * 255).round().byte().cpu())
    joined = torch.cat(maps)
    save_safetensors(path, {"maps": joined})
    note(path.parent, path)
    return joined


def _read(path: Path, rows: int) -> Block | None:
    """Tensors of a cached file with at least ``rows`` rows; None where it must be made."""
    tensors = load_file(path) if is_sound(path) else {}
    return tensors if tensors and min(len(t) for t in tensors.values()) >= rows else None
