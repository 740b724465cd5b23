"""Open a session from a command line's settings: the model, its concepts, and a judge that is on this machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hydra.utils import instantiate

from hspace_exp.avatars import CONCEPTS, EMBEDDED
from hspace_exp.concepts.concept import concept_files, load_concepts
from hspace_exp.config.command_line import composed
from hspace_exp.errors import UserError
from hspace_exp.evaluation.judges import Judge
from hspace_exp.io.progress import quieten
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.devices import resolve_device
from hspace_studio.pictures import snippet
from hspace_studio.session import Asked, Session, Shown

_make = partial(instantiate, _convert_="all")


@dataclass(frozen=True)
class Opened:
    """A session, and where its parts come from."""

    session: Session
    source: str  # folder of the model, or its name on a hub
    files: dict[str, Path]  # of concepts that were read from files

    def snippet(self, asked: Asked, shown: Shown) -> str:
        """Lines of Python that make a picture again."""
        target, backbone = shown.targets[0], self.session.backbone
        file = self.files.get(target, Path(file_name(target)))
        place = f"CONCEPTS / {file.name!r}" if file.parent == CONCEPTS else repr(str(file))
        model = "EMBEDDED" if Path(self.source).resolve() == EMBEDDED else repr(self.source)
        dtype = str(backbone.dtype).removeprefix("torch.")
        native = backbone.unet.config.sample_size in (backbone.latent_shape[1], list(backbone.latent_shape[1:]))
        side = None if native else backbone.image_size
        return snippet(asked, target, model, place, str(backbone.device), dtype, side)


def file_name(concept: str) -> str:
    """What the file of a concept is called, whatever characters its name has."""
    return re.sub(r"[^\w-]+", "_", concept) + ".safetensors"


def opened(overrides: Sequence[str], places: Sequence[str | Path] = ()) -> Opened:
    """The model that settings as of a run name (``model=sd15 model.path=…``), with concepts of files and folders.

    The embedded model brings its own. A judge that would have to be fetched is left out: ``evaluator.weights=FILE``
    names one that is here. Raises UserError: something is missing, unknown, or does not fit the model.
    """
    cfg = composed(["logger=none", *overrides])
    cfg.device = str(resolve_device(cfg.device))
    quieten()
    backbone: Backbone = _make(cfg.model)
    source = str(Path(cfg.model.get("path") or cfg.model.source).expanduser())
    of_model = [CONCEPTS] if Path(source).resolve() == EMBEDDED else []
    named = [Path(place).expanduser().resolve() for place in (*places, *of_model)]
    files = concept_files(named) if named else []
    concepts = load_concepts(files) if files else {}
    return Opened(Session(backbone, concepts, _judge(cfg.evaluator)), source, dict(zip(concepts, files, strict=True)))


def _judge(node: Any) -> Judge | None:
    """The first judge of an evaluator whose weights are here; None of one that would have to be fetched."""
    if not Path(str(node.get("weights") or "")).expanduser().exists():
        return None
    evaluator = _make(node)
    judge: Judge | None = getattr(evaluator, "judge", None)
    if judge is None:
        raise UserError("the evaluator has no judge that the page could ask: leave evaluator=… out")
    return judge
