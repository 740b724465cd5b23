"""The stage ``generation``: unedited images, shared through the cache, edited ones, and the manifest of both."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from hspace_exp.concepts.concept import Concept
from hspace_exp.generation.generate import claim, generate, take_originals
from hspace_exp.generation.manifest import write_manifest
from hspace_exp.io.locks import FOLDER
from hspace_exp.pipeline.parts import Parts
from hspace_exp.pipeline.workers import Worker
from hspace_exp.prompts.attributes import prompts_of

log = logging.getLogger(__name__)


def make_images(parts: Parts, concepts: Mapping[str, Concept], cache: Path, worker: Worker) -> None:
    """Make this process's share of the images; rank 0 sees to it that all are there in the end.

    Args:
        parts: of the run.
        concepts: vectors, none where the method learns none.
        cache: what several runs share.
        worker: this process.
    """
    images, cached = worker.run_dir / "images", parts.unedited.folder(cache) / "images"
    lock = worker.locks(cached.parent / FOLDER)
    kinds = [partial(generate, folder=cached, lock=lock, description="unedited images")]
    if parts.edited is not None:
        edit, own = parts.edit(concepts), worker.locks(worker.folder / "edited") if worker.count > 1 else None
        kinds.append(partial(generate, folder=images / "edited", edit=edit, lock=own, description="edited images"))
        if worker.rank == 0:
            claim(images / "edited", parts.edited.digest)
    worker.ready()
    made = [0] * len(kinds)
    for wait in worker.passes:
        for k, make in enumerate(kinds):
            made[k] += make(parts.backbone, parts.sampling, parts.items, image_seed=parts.image_seed, wait=wait)
    if made[0] < len(parts.items):
        log.info("%d of %d unedited images are not made here: %s", len(parts.items) - made[0], len(parts.items), cached)
    if worker.rank == 0:
        take_originals(parts.items, cached, images / "original")
        strengths = parts.method.strengths(prompts_of(parts.asked))
        write_manifest(worker.run_dir, parts.items, strengths, parts.edited is not None)
