"""A concept vector and all that is needed to use it rightly: one safetensors file and its card."""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jinja2 import Template
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hspace_exp.concepts import hub
from hspace_exp.errors import UserError
from hspace_exp.io.atomic import save_safetensors, write_text

if TYPE_CHECKING:
    from hspace_exp.models.backbone import Backbone

log = logging.getLogger(__name__)
_HERE = Path(__file__).parent
_CARD, _README = (Template((_HERE / f"{name}.md.j2").read_text("utf-8") + "\n") for name in ("card", "readme"))

FORMAT = "hspace_exp.concept"
FORMAT_VERSION = "1"
SITE = "mid_block"
_JSON_FIELDS = ("h_shape", "prompts", "hyperparameters", "seed", "metrics")
_TEXT_FIELDS = ("name", "attribute", "model", "revision", "method", "licence")
# Models of conf/model → their id on the hub and their architecture, as ModelSpec names it.
BASES = {name: tuple(pair) for name, pair in json.loads((_HERE / "bases.json").read_text("utf-8")).items()}


@dataclass(frozen=True)
class Concept:
    """A direction in the h-space of one model.

    Attributes:
        vector: (C, 1, 1) for a channel vector or (C, H, W) for a spatial one; kept as float32 on the CPU.
        name: what it adds, e.g. ``female``.
        attribute: the group it belongs to, e.g. ``gender``.
        model, revision: the weights it was made for.
        h_shape: (C, H, W) of that model's h.
        method: how it was made, e.g. ``sdid``.
        prompts: e.g. ``{"positive": "a photo of a woman", "neutral": "a photo of a person"}``.
        hyperparameters, metrics: plain JSON values.
        seed: of the training run.
        licence: of the vector.
        presence: (C, H, W) mean h of images that show the concept, under the neutral prompt, where the method measures
            it: with the vector it tells how much of the concept an h holds already.
        folder: of the file that it was read from, where others of its making may lie.
    """

    vector: Tensor
    name: str
    attribute: str
    model: str
    revision: str
    h_shape: tuple[int, int, int]
    method: str
    prompts: Mapping[str, str] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    licence: str = "MIT"
    presence: Tensor | None = None
    folder: Path | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Normalise the vector and check it against ``h_shape``."""
        object.__setattr__(self, "h_shape", tuple(int(n) for n in self.h_shape))
        shapes = (self.h_shape[0], 1, 1), self.h_shape
        for key, what in (("vector", f"concept {self.name!r}"), ("presence", f"presence of concept {self.name!r}")):
            tensor = getattr(self, key)
            if tensor is None:
                continue
            tensor = tensor.detach().to("cpu", torch.float32).contiguous()
            if tuple(tensor.shape) not in shapes:
                given = f"{what} has shape {tuple(tensor.shape)}, but h is {self.h_shape} here"
                raise UserError(f"{given}: expected {shapes[0]} or {shapes[1]}")
            if not torch.isfinite(tensor).all():
                raise UserError(f"{what} holds NaN or infinite values: train it again with a lower learning rate")
            object.__setattr__(self, key, tensor)

    @property
    def kind(self) -> str:
        """``channel`` or ``spatial``."""
        return "channel" if self.vector.shape[1:] == (1, 1) else "spatial"

    @property
    def making(self) -> tuple[str, str, str, tuple[int, int, int]]:
        """What concepts that act together share: weights, method and the form of h."""
        return self.model, self.revision, self.method, self.h_shape

    def metadata(self) -> dict[str, str]:
        """The string metadata of the file."""
        texts = {key: str(getattr(self, key)) for key in _TEXT_FIELDS}
        try:
            plain = {key: json.dumps(getattr(self, key), default=dict, allow_nan=False) for key in _JSON_FIELDS}
        except (TypeError, ValueError) as error:
            raise UserError(f"concept {self.name!r}: expected finite plain values in its metadata ({error})") from error
        return {"format": FORMAT, "format_version": FORMAT_VERSION, "site": SITE, **texts, **plain, **self.modelspec()}

    @property
    def base(self) -> tuple[str, str]:
        """The model's id on the hub and its architecture; its name for both where they are not known."""
        return next((pair for name, pair in BASES.items() if self.model in (name, pair[0])), (self.model, self.model))

    def modelspec(self) -> dict[str, str]:
        """What user interfaces show of a file, by ModelSpec 1.0.0; without a date, so that equal files are equal."""
        shown = {
            "sai_model_spec": "1.0.0",
            "architecture": f"{self.base[1]}/h-space",
            "implementation": "hspace_exp",
            "title": self.name,
            "description": f"Shifts {self.attribute} to {self.name}: a {self.kind} vector for h-space, {self.method}.",
            "license": self.licence,
            "usage_hint": ", ".join(f"{k} {v}" for k, v in self.hyperparameters.items() if k in ("strength", "branch")),
        }
        return {f"modelspec.{key}": text for key, text in shown.items()}

    def save(self, path: Path | str) -> Path:
        """Write the file, and its card beside it (same name, ``.md``); each appears whole or not at all."""
        path = Path(path)
        presence = {} if self.presence is None else {"presence": self.presence}
        save_safetensors(path, {"vector": self.vector, **presence}, self.metadata())
        write_text(path.with_suffix(".md"), self.card())
        return path

    def push_to_hub(self, repo: str, *, private: bool | None = None) -> str:
        """Put the concept on the Hugging Face hub, with its card and all of its making that lie in its folder.

        Those are what its method may need: ``focused`` reads the other concepts of the attribute and keeps others.
        Returns its name there, pinned, as ``steer`` takes it: ``org/repo/female@<commit>``. Raises UserError: there is
        no access to the repository ``org/repo``, or a concept's name can be no file's.
        """
        every = [*beside({self.name: self}, [] if self.folder is None else [self.folder]).values()]
        licences, tags = sorted({one.licence for one in every}), [self.attribute, self.method]
        with tempfile.TemporaryDirectory() as folder:
            for one in every:
                if not re.fullmatch(hub.PART, one.name):
                    raise UserError(f"{one.name!r} cannot be the name of a file on the hub: rename the concept")
                one.save(Path(folder) / f"{one.name}.safetensors")
            text = _README.render(repo=repo, base=self.base[0], concepts=every, licences=licences, tags=tags)
            write_text(Path(folder) / "README.md", text)
            return f"{repo}/{self.name}@{hub.push(Path(folder), repo, private)}"

    def check_shape(self, h_shape: tuple[int, int, int], model: str) -> None:
        """Refuse a model whose h (C, H, W) the vector does not fit; the message gives both shapes."""
        channels, height, width = h_shape
        fits = self.vector.shape[0] == channels and tuple(self.vector.shape[1:]) in ((1, 1), (height, width))
        if not fits:
            raise UserError(
                f"concept {self.name!r} is {tuple(self.vector.shape)} for {self.model!r} with h {self.h_shape}, but "
                f"{model!r} has h {h_shape}: train it for this model and image size, or load the model it belongs to"
            )

    def check(self, backbone: Backbone) -> None:
        """Refuse another model's shape; warn when the shape fits but the weights are others.

        Raises UserError: the vector does not fit, see ``check_shape``.
        """
        self.check_shape(backbone.h_shape, backbone.name)
        if (self.model, self.revision) != (backbone.name, backbone.revision):
            log.warning(
                "concept %r was made for %s (%s), and is used with %s (%s)",
                self.name, self.model, self.revision, backbone.name, backbone.revision,
            )  # fmt: skip

    def card(self) -> str:
        """A Markdown card for people."""
        rms = f"{self.vector.square().mean().sqrt().item():.3g}"
        return _CARD.render(of=self, site=SITE, shape=tuple(self.vector.shape), rms=rms)


def load_concept(path: Path | str) -> Concept:
    """Read a concept file. Raises UserError: the file is missing, truncated, foreign or inconsistent."""
    path = Path(path)
    if not path.is_file():
        others = sorted(p.name for p in path.parent.glob("*.safetensors")) if path.parent.is_dir() else []
        raise UserError(f"no concept file {path}; found there: {', '.join(others) or 'none'}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in {"vector", "presence"} & set(file.keys())}
    except (SafetensorError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path} is not a whole safetensors file ({reason}): make or download it again") from error
    if "vector" not in tensors or metadata.get("format") != FORMAT:
        raise UserError(
            f"{path} is not a concept file of this project (no tensor 'vector' with format {FORMAT!r}): "
            "see hspace_exp.concepts.formats for other people's formats"
        )
    if metadata.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{path} has concept format {metadata.get('format_version')}, expected {FORMAT_VERSION}: update the package"
        )
    try:
        texts = {key: metadata[key] for key in _TEXT_FIELDS}
        plain = {key: json.loads(metadata[key]) for key in _JSON_FIELDS}
        return Concept(**tensors, **texts, **plain, folder=path.parent)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} has incomplete metadata ({error!r}): make or download it again") from error


def load_concepts(places: Sequence[Path | str]) -> dict[str, Concept]:
    """Concepts of files and of folders of them, by name.

    Raises UserError: none is named, one cannot be read, or two have the same name.
    """
    found: dict[str, Concept] = {}
    for concept in map(load_concept, concept_files(places)):
        if concept.name in found:
            raise UserError(f"two of the concept files are named {concept.name!r}: name each concept once")
        found[concept.name] = concept
    return found


def concept_files(places: Sequence[Path | str]) -> list[Path]:
    """Files that are named, and those of folders of concepts and of a run's folder.

    Raises UserError: none is named, or a folder has none.
    """
    if not places:
        raise UserError("name concept files or a folder of them")
    found: list[Path] = []
    for place in map(Path, places):
        inside = [file for folder in (place, place / "concepts") for file in sorted(folder.glob("*.safetensors"))]
        if place.is_dir() and not inside:
            raise UserError(f"{place} holds no concept files (*.safetensors): name a run's folder, or its concepts")
        found += inside or [place]
    return found


def beside(asked: Mapping[str, Concept], folders: Sequence[Path]) -> dict[str, Concept]:
    """These, and all concepts of their making in their folders, by name."""
    makings, found = {one.making for one in asked.values()}, dict(asked)
    for file in sorted(file for folder in folders for file in folder.glob("*.safetensors")):
        try:
            one = load_concept(file)
        except UserError:  # other things may lie there, too
            continue
        if one.making in makings:
            found.setdefault(one.name, one)
    return {name: found[name] for name in sorted(found)}
