"""A concept vector and all that is needed to use it rightly: one safetensors file and its card."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import numpy as np
from jinja2 import Template
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model
from safetensors import SafetensorError, safe_open

from hspace_exp.concepts import hub
from hspace_exp.errors import UserError, getting
from hspace_exp.io.atomic import save_safetensors, write_text
from hspace_exp.io.checksums import is_noted, note
from hspace_exp.io.rows import markdown
from hspace_exp.prompts.attributes import named

if TYPE_CHECKING:
    from torch import Tensor

    from hspace_exp.models.backbone import Backbone

log = logging.getLogger(__name__)
_HERE = Path(__file__).parent
_MARKDOWN, _README, _SPEC = (
    Template((_HERE / f"{name}.j2").read_text("utf-8") + "\n") for name in ("card.md", "readme.md", "modelspec.json")
)

FORMAT = "hspace_exp.concept"
FORMAT_VERSION = "1"
WEIGHTS = "weights"  # the site of vectors that a method spreads over layers of the network: (P, 1, 1), whatever h is
_JSON_FIELDS = ("h_shape", "prompts", "hyperparameters", "seed", "metrics")
_TEXT_FIELDS = ("name", "attribute", "model", "revision", "method", "licence", "site")
_MOST = 2**20  # characters of a file's metadata
LARGEST, LARGEST_STRENGTH = 1e6, 1e4  # number of a vector, and of what it is applied with
# Models of conf/model → their id on the hub and their architecture, as ModelSpec names it.
BASES = {name: tuple(pair) for name, pair in json.loads((_HERE / "bases.json").read_text("utf-8")).items()}

_Number = Annotated[float, Field(ge=-LARGEST_STRENGTH, le=LARGEST_STRENGTH)]
_Name = Annotated[str, AfterValidator(named)]
_Line = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Site = Annotated[str, Field(max_length=200, pattern=r"^(mid_block|weights|(heads|block):[0-9]+(\+[0-9]+)*)$")]
_Text = Annotated[str, Field(max_length=4000)]
_Side = Annotated[int, Field(ge=1, le=2**16)]
_Setting = bool | int | _Number | _Name | None
# Settings of conf/; those of a class or function have its name without its module as ``_target_``.
_Part = dict[Annotated[str, Field(pattern="^(_target_|[a-z][a-z_]{0,39})$")], _Setting]
_Key = Annotated[str, Field(pattern=r"^(method\.(window|edit)|frequency\.(weight|source|branch|transform))$")]


class _Plain(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class Levels(_Plain):
    """Of a linear classifier whose weights the vector is: the scale of h and the bias at each noise level."""

    scale: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1, max_length=1000)]
    bias: Annotated[list[_Number], Field(max_length=1000)]


class Used(_Plain):
    """What of ``hyperparameters`` is acted upon; None where they do not state it."""

    strength: _Number | None = None
    branch: Literal["both", "conditional"] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=1000)] | None = None  # at which the strength was found
    made_by: _Line | None = None  # digest of what decides the vector
    classifier: Levels | None = None
    # key of conf/ → value with which the run that made the concept applied it, beside strength and branch
    applied: dict[_Key, _Setting | list[_Number] | _Part] | None = None


@dataclass(frozen=True)
class Concept:
    """A direction in the h-space of one model.

    Attributes:
        vector: (C, 1, 1) for a channel vector or (C, H, W) for a spatial one, or as ``WEIGHTS`` says; float32, CPU.
        name: what it adds, e.g. ``female``.
        attribute: the group it belongs to, e.g. ``gender``.
        model, revision: the weights it was made for.
        h_shape: (C, H, W) of that model's h.
        site: where h is, see ``models.sites.Site``.
        method: how it was made, e.g. ``sdid``.
        prompts: e.g. ``{"positive": "a photo of a woman", "neutral": "a photo of a person"}``.
        hyperparameters, metrics: plain JSON values.
        seed: of the training run.
        licence: of the vector.
        presence: (C, H, W) mean h of images that show the concept, under the neutral prompt, where the method measures
            it: with the vector it tells how much of the concept an h holds already.
        folder: of the file that it was read from, where others of its making may lie.
        used: what of the hyperparameters is acted upon.

    Raises:
        UserError: a tensor or some metadata is of another form or out of range.
    """

    vector: Tensor
    name: _Name
    attribute: _Name
    model: _Line
    revision: _Line
    h_shape: tuple[_Side, _Side, _Side]
    method: _Name
    prompts: Annotated[Mapping[_Line, _Text], Field(max_length=20)] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    seed: Annotated[int, Field(ge=0, lt=2**64)] = 0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    licence: _Line = "MIT"
    site: _Site = "mid_block"
    presence: Tensor | None = None
    folder: Path | None = field(default=None, compare=False, repr=False)
    used: Used = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Normalise the vector, and check all."""
        plain = {key: getattr(self, key) for key in (*_TEXT_FIELDS, *_JSON_FIELDS)}
        with getting(f"the metadata of concept {self.name!r:.110}", "give finite plain values of the usual sizes"):
            card = _CARD.model_validate_json(json.dumps(plain, default=dict, allow_nan=False))
        object.__setattr__(self, "used", card.hyperparameters)
        object.__setattr__(self, "h_shape", card.h_shape)
        shapes = (*(self.vector.shape if self.site == WEIGHTS else self.h_shape)[:1], 1, 1), self.h_shape
        for key, what in (("vector", f"concept {self.name!r}"), ("presence", f"presence of concept {self.name!r}")):
            tensor = getattr(self, key)
            if tensor is None:
                continue
            bare = isinstance(tensor, np.ndarray)  # read where torch is not needed, see ``load_concept``
            if tensor.dtype.kind != "f" if bare else not tensor.is_floating_point():
                raise UserError(f"{what} is of {tensor.dtype}: expected floating-point numbers")
            tensor = tensor.astype(np.float32) if bare else tensor.detach().cpu().float().contiguous()
            if tuple(tensor.shape) not in shapes:
                given = f"{what} has shape {tuple(tensor.shape)}, but h is {self.h_shape} here"
                raise UserError(f"{given}: expected {shapes[0]} or {shapes[1]}")
            if not (abs(tensor) <= LARGEST).all():
                numbers = f"NaN or infinite values, or such above {LARGEST:g}"
                raise UserError(f"{what} holds {numbers}: train it again with a lower learning rate")
            object.__setattr__(self, key, tensor)

    @property
    def kind(self) -> str:
        """``channel`` or ``spatial``, or ``weights`` at the site of this name."""
        return WEIGHTS if self.site == WEIGHTS else "channel" if self.vector.shape[1:] == (1, 1) else "spatial"

    @property
    def rms(self) -> float:
        """Root mean square of the vector."""
        return float((self.vector**2).mean()) ** 0.5

    @property
    def making(self) -> tuple[str, str, str, tuple[str, int, int, int]]:
        """What concepts that act together share: weights, method, the place of h and its form."""
        return self.model, self.revision, self.method, (self.site, *self.h_shape)

    def metadata(self) -> dict[str, str]:
        """The string metadata of the file."""
        texts = {key: str(getattr(self, key)) for key in _TEXT_FIELDS}
        plain = {key: json.dumps(getattr(self, key), default=dict, allow_nan=False) for key in _JSON_FIELDS}
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **texts, **plain, **self.modelspec()}

    @property
    def base(self) -> tuple[str, str]:
        """The model's id on the hub and its architecture; its name for both where they are not known."""
        return next((pair for name, pair in BASES.items() if self.model in (name, pair[0])), (self.model, self.model))

    def modelspec(self) -> dict[str, str]:
        """What user interfaces show of a file, by ModelSpec 1.0.0; without a date, so that equal files are equal."""
        hint = ", ".join(f"{k} {v}" for k, v in self.hyperparameters.items() if k in ("strength", "branch"))
        return dict(json.loads(_SPEC.render(of=self, hint=hint)))

    def save(self, path: Path | str) -> Path:
        """Write the file, and its card beside it (same name, ``.md``); each appears whole or not at all."""
        path = Path(path)
        presence = {} if self.presence is None else {"presence": self.presence}
        save_safetensors(path, {"vector": self.vector, **presence}, self.metadata())
        write_text(path.with_suffix(".md"), self.card())
        if is_noted(path) is not None:
            note(path.parent, path)
        return path

    def push_to_hub(self, repo: str, *, private: bool | None = None) -> str:
        """Put the concept on the Hugging Face hub, with its card and all of its making that lie in its folder.

        Those are what its method may need: ``focused`` reads the other concepts of the attribute and keeps others.
        Returns its name there, pinned, as ``steer`` takes it: ``org/repo/female@<commit>``. Raises UserError: there is
        no access to the repository ``org/repo``.
        """
        every = [*beside({self.name: self}, [] if self.folder is None else [self.folder]).values()]
        licences, tags = sorted({one.licence for one in every}), [self.attribute, self.method]
        with tempfile.TemporaryDirectory() as folder:
            for one in every:
                one.save(Path(folder) / f"{one.name}.safetensors")
            text = _README.render(repo=repo, base=self.base[0], concepts=every, licences=licences, tags=tags)
            write_text(Path(folder) / "README.md", text)
            return f"{repo}/{self.name}@{hub.push(Path(folder), repo, private)}"

    def check_shape(self, h_shape: tuple[int, int, int], model: str) -> None:
        """Refuse a model whose h (C, H, W) the vector does not fit; the message gives both shapes."""
        if self.kind != WEIGHTS and tuple(self.vector.shape) not in ((h_shape[0], 1, 1), h_shape):
            raise UserError(
                f"concept {self.name!r} is {tuple(self.vector.shape)} for {self.model!r} with h {self.h_shape}, but "
                f"{model!r} has h {h_shape}: train it for this model and image size, or load the model it belongs to"
            )

    def check(self, backbone: Backbone) -> None:
        """Refuse another model's shape; warn when the shape fits but the weights are others.

        Raises UserError: the vector does not fit, see ``check_shape``.
        """
        if self.site not in (WEIGHTS, backbone.site.name):
            where = f"concept {self.name!r} is for {self.model!r} at {self.site}, but {backbone.name!r} is edited at"
            raise UserError(f"{where} {backbone.site.name}: say model.site={self.site}, or train it for this model")
        self.check_shape(backbone.h_shape, backbone.name)
        own, other = (self.model, self.revision), (backbone.name, backbone.revision)
        if own != other:
            log.warning("concept %r was made for %s (%s), and is used with %s (%s)", self.name, *own, *other)

    def card(self) -> str:
        """A Markdown card for people."""
        return _MARKDOWN.render(of=self, site=self.site, shape=tuple(self.vector.shape), md=markdown)


_HINTS = get_type_hints(Concept, localns={"Tensor": Any}, include_extras=True) | {"hyperparameters": Used}
_FORM: dict[str, Any] = {key: (_HINTS[key], ...) for key in (*_TEXT_FIELDS, *_JSON_FIELDS)}
_CARD: Any = create_model("_CARD", __base__=_Plain, **_FORM)


def load_concept(path: Path | str, framework: str = "pt") -> Concept:
    """Read a concept file, without torch where ``framework`` is "np". Raises UserError: it is missing or not whole."""
    path = Path(path)
    if not path.is_file():
        others = sorted(p.name for p in path.parent.glob("*.safetensors")) if path.parent.is_dir() else []
        raise UserError(f"no concept file {path}; found there: {', '.join(others) or 'none'}")
    try:
        with safe_open(path, framework=framework, device="cpu") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in {"vector", "presence"} & set(file.keys())}
        if is_noted(path) is False:
            raise UserError("its checksum is another than that in checksums.json beside it")
        if "vector" not in tensors or metadata.get("format") != FORMAT:
            raise UserError(f"no tensor 'vector' with format {FORMAT!r}; others' are for `hspace-exp concepts import`")
        if (version := metadata.get("format_version")) != FORMAT_VERSION:
            raise UserError(f"concept format {version}, expected {FORMAT_VERSION}: update the package")
        if sum(map(len, metadata.values())) > _MOST:
            raise UserError(f"more than {_MOST} characters beside its vector")
        texts = {key: metadata[key] for key in _TEXT_FIELDS}
        plain = {key: json.loads(metadata[key]) for key in _JSON_FIELDS}
        return Concept(**tensors, **texts, **plain, folder=path.parent)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = " ".join((str(error) if isinstance(error, UserError) else repr(error)).split())[:400]
        raise UserError(f"{path} is no whole concept file ({reason}): make or download it again") from error


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
