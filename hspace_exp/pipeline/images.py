"""The stage ``generation``: unedited images, shared through the cache, edited ones, and the manifest of both."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hspace_exp.concepts.concept import Concept
from hspace_exp.generation.generate import claim, generate, take_originals
from hspace_exp.generation.manifest import write_manifest
from hspace_exp.io.locks import FOLDER
from hspace_exp.pipeline.parts import Parts
from hspace_exp.pipeline.workers import Worker
from hspace_exp.prompts.attributes import prompts_of

log = logging.getLogger(__name__)


def make_images(parts: Parts, concepts: Mapping[str, Concept], cache: Path, worker: Worker) -> None:
    """Make this process's share of the images; rank 0 sees to it that all are there in the end."""
    images, cached = worker.run_dir / "images", parts.unedited.folder(cache) / "images"
    options: Any = {"image_seed": parts.image_seed, "wait": worker.rank == 0}
    make: Callable[..., int] = partial(generate, parts.backbone, parts.sampling, parts.items, **options)
    edit = None if parts.edited is None else parts.edit(concepts)
    if parts.edited is not None and worker.rank == 0:
        claim(images / "edited", parts.edited.digest)
    worker.ready()
    unedited = {"made_by": parts.unedited.digest, "description": "unedited images"}
    made = make(cached, lock=worker.locks(cached.parent / FOLDER), **unedited)
    if made < len(parts.items):
        log.info("%d of %d unedited images are not made here: %s", len(parts.items) - made, len(parts.items), cached)
    if parts.edited is not None:
        own = worker.locks(worker.folder / "edited") if worker.count > 1 else None
        make(images / "edited", edit=edit, lock=own, made_by=parts.edited.digest, description="edited images")
    if worker.rank == 0:
        take_originals(parts.items, cached, images / "original", parts.unedited.digest)
        strengths = parts.method.strengths(prompts_of(parts.asked))
        write_manifest(worker.run_dir, parts.items, strengths, parts.edited is not None)
