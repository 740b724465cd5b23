"""What a configuration may hold, so that a typo is an error that names the key and the choices.

Nodes of plain data are dataclasses. Nodes with a ``_target_`` are checked against the signature of their target. When a
configuration is composed OmegaConf looks at types alone; pydantic then reads all that annotations say of values.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf
from pydantic import AfterValidator, Field, GetPydanticSchema

from hspace_exp.avatars import EMBEDDED
from hspace_exp.prompts.attributes import Group, Name

_LONGEST_NAME = 120
AUTO = "auto"  # a strength that is still to be found
STAGES = ("concepts", "masks", "training", "calibration", "generation", "evaluation")


def _said(text: str) -> str:
    if not text.strip():
        raise ValueError("some text")
    return text


MOST = 1e6  # of factors: what is larger overflows in the arithmetic of 32 bits that follows, and means nothing

Text = Annotated[str, AfterValidator(_said)]
Seed = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=10**12)]
Factor = Annotated[float, Field(ge=-MOST, le=MOST)]
Scale = Annotated[float, Field(ge=0, le=1000)]


def _as(kind: Any) -> GetPydanticSchema:  # noqa: ANN401 (a type)
    """For ``Any``, which OmegaConf asks for: what pydantic reads it as."""
    return GetPydanticSchema(lambda _, handler: handler(kind))


def _template(text: str) -> str:
    try:
        text.format(a="a", profession="nurse")
    except (LookupError, ValueError, AttributeError) as error:
        raise ValueError(f"{{a}} and {{profession}} only, got {text!r}") from error
    return text


def _increasing(values: list[float]) -> list[float]:
    if values[0] >= values[1]:
        raise ValueError("[least, most]")
    return values


@dataclass
class Attribute(Group):
    """What is asked for: one group, a composition of several, or a concept from words alone."""

    groups: dict[Name, Group] = field(default_factory=dict)
    positive: str = ""
    neutral: str = ""
    words: str = ""
    concept: str = ""


@dataclass
class Prompts:
    """Wordings with ``{a}`` and ``{profession}``, and the professions that are known, and groups of them."""

    templates: Annotated[list[Annotated[Text, AfterValidator(_template)]], Field(min_length=1)] = MISSING
    professions: list[Name] = MISSING
    groups: dict[str, list[str]] = field(default_factory=dict)
    measured: str = "unseen"  # the group that is measured, where the protocol does not name professions
    file: str = ""  # of one's own: all of it is measured, see ``hspace_exp.prompts.listed``
    listed: str = ""  # what the file holds, a digest: found, not set


@dataclass
class Protocol:
    """How much of everything."""

    professions: Annotated[list[Name], Field(min_length=1)] = MISSING  # those measured
    images_per_profession: Count = MISSING  # measured
    training_images: Count = MISSING  # that a concept learns from
    training_steps: Count = MISSING  # of the optimiser
    # for which learning rates are meant: vectors that start at zero then get as far in other steps; None: in any
    rates_for_steps: Count | None = None
    num_inference_steps: Count = MISSING  # of denoising
    learning_inference_steps: Count | None = None  # of what is learnt from and calibrated with; None: as many
    image_seed: Seed = 0  # of all images
    assignment: str = "balanced"  # or ``random``, or the name of the one concept that every image is asked for
    calibration_images: Count = MISSING  # a concept, that its strength is found with
    # of images measured; None: the model's own, at which vectors are learnt and calibrated
    guidance_scale: Scale | None = None


@dataclass
class Calibration:
    """How strengths are found, see ``hspace_exp.pipeline.calibration``."""

    success: Annotated[float, Field(gt=0, le=1)] = 0.95
    professions: Annotated[list[Name], Field(min_length=1)] = MISSING
    images: Count = MISSING
    image_seed: Seed = 1
    strengths: Annotated[
        list[Annotated[float, Field(gt=0, le=MOST)]], Field(min_length=2, max_length=2), AfterValidator(_increasing)
    ] = MISSING
    points: Annotated[int, Field(ge=2, le=1000)] = 31


@dataclass
class Paths:
    """Folders outside the run's own."""

    cache: Text = MISSING


@dataclass
class Config:
    """The root of every configuration."""

    name: Name = MISSING
    seed: Seed = MISSING
    stages: Annotated[list[Annotated[str, _as(Literal[STAGES])]], Field(min_length=1)] = MISSING
    device: Text = MISSING
    chunk_size: Count | None = None
    respect_prompt: bool = True
    optimized_metric: Annotated[Any, _as(Text | Annotated[list[Text], Field(min_length=1)])] = MISSING
    trust: list[str] = field(default_factory=list)
    paths: Paths = field(default_factory=Paths)
    attribute: Attribute = field(default_factory=Attribute)
    prompts: Prompts = field(default_factory=Prompts)
    protocol: Protocol = field(default_factory=Protocol)
    calibration: Calibration = field(default_factory=Calibration)
    model: Any = MISSING
    scheduler: Any = MISSING
    method: Any = MISSING
    mask: Any = MISSING
    frequency: Any = MISSING
    evaluator: Any = MISSING
    logger: Any = MISSING
    trainer: Any = MISSING


def register() -> None:
    """Make the schema and the resolvers of conf/ known to Hydra: ``embedded`` is a folder of the embedded model."""
    ConfigStore.instance().store(name="schema", node=Config)
    OmegaConf.register_new_resolver("embedded", lambda part="": str(EMBEDDED / part), replace=True)
    OmegaConf.register_new_resolver("deviations", _deviations, replace=True)


def _deviations(overrides: str) -> str:
    """What a run's folder adds to its name for values set on the command line; short, and safe as a file name."""
    text = "".join(c if c.isalnum() or c in "=,.+-_" else "_" for c in overrides)
    if len(text) > _LONGEST_NAME:
        text = f"{text[: _LONGEST_NAME - 9]}-{hashlib.sha256(overrides.encode()).hexdigest()[:8]}"
    return f",{text}" if text else ""
