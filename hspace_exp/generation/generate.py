"""Paired images: the same prompts and noises with and without an edit, in fixed chunks that resume exactly."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hspace_exp.io.atomic import write_bytes, write_text
from hspace_exp.io.checksums import clear
from hspace_exp.io.digest import digest
from hspace_exp.io.images import missing, saver, writers
from hspace_exp.io.progress import track
from hspace_exp.io.seeding import REPORT, initial_noise
from hspace_exp.methods.steering import Edit, Steering
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Hooks, Sampling
from hspace_exp.prompts.plan import Item

log = logging.getLogger(__name__)

# Name of a chunk, whether to wait → what opens its lock again; None where another process makes it.
Lock = Callable[[str, bool], Callable[[], None] | None]
Save = Callable[[Sequence[Path], Tensor], None]


def generate(
    backbone: Backbone,
    sampling: Sampling,
    items: Sequence[Item],
    folder: Path,
    *,
    image_seed: int = 0,
    domain: str = REPORT,
    edit: Edit | None = None,
    made_by: str = "",
    description: str = "generate images",
    lock: Lock | None = None,
    wait: bool = True,
) -> int:
    """Make the images that ``folder`` lacks, and return how many those were.

    Chunks are fixed by the order of the items, and a chunk is sampled whole even when one of its images is missing, so
    an interrupted run ends with the very images of an uninterrupted one.

    Args:
        backbone: the frozen model.
        sampling: how it is sampled.
        items: images to have.
        folder: of them.
        image_seed: of the noises.
        domain: what the images are for, see ``initial_noise``.
        edit: what is done to h; None for unedited images.
        made_by: digest of what decides the images, which they say.
        description: for the progress bar.
        lock: of a chunk, where several processes make the same images: each makes those chunks that it can lock.
        wait: for the chunks that others make, and make what they leave undone.
    """
    lock = lock or (lambda name, wait: lambda: None)
    chunks = [items[start : start + sampling.chunk_size] for start in range(0, len(items), sampling.chunk_size)]

    def make(save: Save, chunk: Sequence[Item]) -> int:
        if absent := set(missing([folder / item.file for item in chunk], made_by)):
            images = sample_chunk(backbone, sampling, chunk, image_seed, edit, domain)
            rows = [row for row, item in enumerate(chunk) if folder / item.file in absent]
            save([folder / chunk[row].file for row in rows], images[rows])
        return len(absent)

    made, left, held = 0, [], []
    with saver(made_by) as save:
        for chunk in track(chunks, description=description):
            if release := lock(_name(chunk), False):
                made += make(save, chunk)
                held.append(release)
            else:
                left.append(chunk)
            if len(held) > 1:  # the images of the last chunk are still being written
                held.pop(0)()
    for release in held:
        release()
    for chunk in left if wait else ():
        release = lock(_name(chunk), True) or (lambda: None)
        with saver(made_by) as save:
            made += make(save, chunk)
        release()
    return made


def _name(chunk: Sequence[Item]) -> str:
    return digest([item.file for item in chunk])


@torch.no_grad()
def sample_chunk(
    backbone: Backbone,
    sampling: Sampling,
    chunk: Sequence[Item],
    image_seed: int,
    edit: Edit | None,
    domain: str = REPORT,
) -> Tensor:
    """Images (B, 3, S, S) in [0, 1] of the items, edited towards their targets where ``edit`` is given."""
    shape = backbone.latent_shape
    noise = torch.stack([initial_noise(i.prompt, i.seed_index, shape, image_seed, domain) for i in chunk])
    prompts = [item.prompt for item in chunk]
    steering = Steering() if edit is None else edit(backbone, chunk, sampling.guided(backbone))
    own = list(steering.prompts or prompts)

    def sample(hooks: Hooks, rows: Tensor | None = None) -> Tensor:
        unedited = rows is None and steering.foresight is not None
        embeds = backbone.encode_prompts(prompts if unedited else own)
        if rows is None:
            return sampling(backbone, noise, embeds, hooks)
        return sampling(backbone, noise[rows.cpu()], embeds.index(rows), hooks)

    latents = steering.sampled(sample, chunk)
    return torch.cat([backbone.decode_latents(some) for some in latents.split(sampling.chunk_size)])


def take_originals(items: Sequence[Item], cache: Path, folder: Path, made_by: str = "") -> None:
    """Copy the unedited images from the cache into a run's folder, where they are not whole already."""

    def take(item: Item) -> None:
        if missing([folder / item.file], made_by):
            write_bytes(folder / item.file, (cache / item.file).read_bytes())

    with writers() as threads:
        list(threads.map(take, items))  # raises what went wrong


def claim(folder: Path, made_by: str) -> None:
    """Make ``folder`` hold images of one making only: those of another are removed, and that is said."""
    stamp = folder / "made_by.txt"
    clear(stamp)
    before = stamp.read_text(encoding="utf-8", errors="replace").strip() if stamp.exists() else None
    if before != made_by and folder.exists():
        if before is not None:
            log.warning("%s holds images of another configuration: they are made again", folder)
        shutil.rmtree(folder)
    write_text(stamp, made_by + "\n")
