"""What ``python -m hspace_exp generate`` is asked for, which image gets what, and the images, manifest and grid."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

from hydra.utils import instantiate
from omegaconf import OmegaConf
from pydantic import Field

from hspace_exp.concepts.concept import Concept, load_concepts
from hspace_exp.config.checks import check_targets
from hspace_exp.config.command_line import CONF, choices, composed
from hspace_exp.errors import UserError, unknown
from hspace_exp.generation.generate import claim, generate
from hspace_exp.generation.grid import strip
from hspace_exp.generation.manifest import read_manifest, write_manifest
from hspace_exp.io.atomic import save_png
from hspace_exp.io.digest import digest, essential
from hspace_exp.io.progress import quieten
from hspace_exp.methods.base import Method
from hspace_exp.methods.frequency import LowFrequency
from hspace_exp.methods.steering import Strength, guidance_factor, strength_of
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.devices import resolve_device
from hspace_exp.models.hspace import BRANCHES
from hspace_exp.models.prompts import check_prompts
from hspace_exp.models.sampling import Sampling
from hspace_exp.prompts.attributes import JOIN, ConceptPrompts, Concepts, Explicit, Group, kept_by, prompts_of, targets
from hspace_exp.prompts.explicit import explicit_prompts
from hspace_exp.prompts.plan import Item, target_of

log = logging.getLogger(__name__)

SUM = "sum"
_LONGEST_SLUG = 40
_make = partial(instantiate, _convert_="all")

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """What ``conf/generate.yaml`` holds and explains; nodes of parts that are made later are plain data."""

    prompt: str
    concepts: str | Sequence[str]
    ask: str | Sequence[str] | None
    strength: float | Mapping[str, float] | None
    seeds: int | Sequence[int]
    assignment: str
    respect_prompt: bool
    num_inference_steps: Annotated[int, Field(ge=1)]
    image_seed: int
    device: str
    chunk_size: Annotated[int, Field(ge=1)]
    out: str
    model: Node
    scheduler: Node
    mask: Node
    frequency: Node
    method: Node


def answer(overrides: Sequence[str]) -> None:
    """Make the images that ``conf/generate.yaml`` with some overrides asks for.

    What is wrong with the request is said before the model is loaded. Raises UserError: something is missing, unknown
    or does not fit.
    """
    asked, concepts = read(overrides)
    quieten()
    one_by_one = [] if any(Path(place).is_dir() for place in listed(asked.concepts)) else [*concepts]
    groups = asked_groups(concepts, listed(asked.ask) or one_by_one)
    items = items_of(asked.prompt, asked.seeds, groups, asked.assignment)
    if asked.respect_prompt and explicit_prompts([asked.prompt], groups):
        items = [replace(item, target="") for item in items]
    method, frequency, scheduler = map(_make, (asked.method, asked.frequency, asked.scheduler))
    if not method.edits:
        raise UserError(f"method {method.name!r} edits nothing: choose another, e.g. method=sdid")
    prompts, keep = prompts_of(groups), kept_by(groups) if method.keeps else {}
    amounts = strengths(concepts, list(prompts), asked.strength, method.strength)
    backbone: Backbone = _make(asked.model)
    scale = 1.0 if asked.strength is not None else scale_of([concepts[name] for name in prompts], backbone)
    edit = replace(method, strength=amounts).apply(prompts, concepts, keep, frequency, scale)
    check_prompts(backbone.encode_prompts, [asked.prompt])
    for concept in concepts.values():
        concept.check(backbone)
    sampling = Sampling(asked.num_inference_steps, scheduler, asked.chunk_size)
    made_by = [sampling.describe(backbone), asked.image_seed, asked.prompt]
    vectors = {name: digest(concept.vector.flatten().tolist()) for name, concept in concepts.items()}
    how_edited = essential({"method": asked.method, "frequency": asked.frequency})
    edited_by = [*made_by, [(item.seed_index, item.target) for item in items], vectors, amounts, scale, how_edited]
    out = Path(asked.out)
    for kind, by, how in (("original", made_by, None), ("edited", edited_by, edit)):
        folder = out / "images" / kind
        claim(folder, digest(by))
        about = f"{kind} images"
        generate(backbone, sampling, items, folder, image_seed=asked.image_seed, edit=how, description=about)
    manifest = write_manifest(out, items, amounts, edited=True)
    pairs = [replace(pair, profession=f"seed {pair.seed_index}") for pair in read_manifest(manifest)]
    save_png(out / "grid.png", strip({"edited": pairs}))
    log.info("%d images and their twins: %s", len(items), out / "grid.png")


def read(overrides: Sequence[str]) -> tuple[Request, dict[str, Concept]]:
    """The request and the concepts of its files, whose own method is taken where none is named."""
    cfg = composed(overrides, "generate")
    for key in ("prompt", "concepts"):
        if OmegaConf.is_missing(cfg, key):
            raise UserError(f"{key}=… is missing; --help shows examples")
    concepts = load_concepts(listed(cfg.concepts))
    if not any(one.startswith("method=") for one in overrides):
        branches = {str(one.hyperparameters.get("branch")) for one in concepts.values()}
        own = [f"method.branch={branch}" for branch in branches & set(BRANCHES) if len(branches) == 1]
        cfg = composed([f"method={method_of(concepts)}", *own, *overrides], "generate")
    cfg.device = str(resolve_device(cfg.device))
    plain: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    check_targets(plain)
    return Request(**{key: value for key, value in plain.items() if key != "_target_"}), concepts


def listed(value: Any) -> list[Any]:
    """A setting that is one value or several, as several; none of null and ""."""
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | int) else list(value)


def method_of(concepts: Mapping[str, Concept]) -> str:
    """The method by which concepts are applied: their own, where they share one that is known; else plain addition."""
    names = {concept.method for concept in concepts.values()}
    name = names.pop() if len(names) == 1 else ""
    return name if name in choices("method") else "sdid"


@cache
def configured(method: str, frequency: str | None = None) -> tuple[Method, LowFrequency]:
    """A method as conf/ has it, with its low-frequency term or another of conf/. Raises UserError: unknown names."""
    for group, name in (("method", method), ("frequency", frequency)):
        if name is not None and name not in choices(group):
            raise unknown(group, name, choices(group))
    cfg = composed([f"method={method}", *([f"frequency={frequency}"] if frequency else [])], "generate")
    return _make(cfg.method), _make(cfg.frequency)


def asked_groups(concepts: Mapping[str, Concept], ask: Sequence[str]) -> tuple[Group, ...]:
    """The concepts that images are asked for, a group an attribute; what the files hold besides is to be kept.

    ``ask`` names attributes and concepts; without names all of one attribute are asked for. Raises UserError: an
    unknown name, or several attributes of which none is chosen.
    """
    groups: dict[str, dict[str, ConceptPrompts]] = {}
    for name, concept in concepts.items():
        groups.setdefault(concept.attribute, {})[name] = ConceptPrompts.of(concept.prompts)
    for name in ask:
        if name not in (*groups, *concepts):
            raise unknown("concept or attribute to ask for", name, (*groups, *concepts))
    if not ask and len(groups) > 1:
        names = ", ".join(groups)
        raise UserError(f"the concept files hold {names}: say which is asked for, e.g. ask={next(iter(groups))}")
    chosen = {
        attribute: {name: prompts for name, prompts in some.items() if not ask or {name, attribute} & set(ask)}
        for attribute, some in groups.items()
    }
    keep = {attribute: some for attribute, some in groups.items() if not chosen[attribute] and len(some) > 1}
    return tuple(
        Group(attribute, "person", some, keep, _explicit(attribute, some)) for attribute, some in chosen.items() if some
    )


def _explicit(attribute: str, concepts: Concepts) -> Explicit:
    """How a prompt names the attribute: the lists of its file, or the words of the concepts."""
    is_known = attribute in choices("attribute")
    known: Any = OmegaConf.to_container(OmegaConf.load(CONF / "attribute" / f"{attribute}.yaml")) if is_known else {}
    words = [prompts.words or name for name, prompts in concepts.items()]
    return Explicit(**{"words": words, **known.get("explicit", {})})


def strengths(
    concepts: Mapping[str, Concept],
    names: Sequence[str],
    given: Strength | None,
    default: Strength | str,
) -> dict[str, float]:
    """Strength of each concept asked for: as given, or as its file says, or the method's; UserError: there is none."""
    found = {}
    for name in names:
        asked = concepts[name].hyperparameters.get("strength") if given is None else given
        asked = default if asked is None else asked
        if isinstance(asked, str):
            raise UserError(f"the file of {name!r} states no strength: say strength=…, e.g. strength=2")
        found[name] = strength_of(asked, name)
    return found


def scale_of(concepts: Sequence[Concept], backbone: Backbone) -> float:
    """What brings the strengths of concept files from the guidance scale that they state to a model's own.

    Raises UserError: they state several.
    """
    stated = {float(one.hyperparameters.get("guidance_scale", backbone.guidance_scale)) for one in concepts}
    if len(stated) > 1:
        told = " and ".join(f"{scale:g}" for scale in sorted(stated))
        raise UserError(f"the concept files state strengths at guidance scales {told}: say strength=…")
    return guidance_factor(stated.pop(), backbone.guidance_scale)


def items_of(prompt: str, seeds: int | Sequence[int], groups: Sequence[Group], assignment: str) -> list[Item]:
    """One item a seed. Raises UserError: the prompt is empty, or the seeds are none, negative or named twice."""
    if not prompt.strip():
        raise UserError('the prompt is empty: give one, e.g. prompt="a photo of a doctor"')
    numbers = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise UserError(f"expected seeds, how many (seeds=8) or which (seeds=[3,5,9]), each once, got {seeds}")
    words = "".join(c if c.isalnum() else " " for c in prompt.lower()).split()
    slug = " ".join(words)[:_LONGEST_SLUG].strip() or "prompt"
    if assignment == SUM:
        every = JOIN.join(name for group in groups for name in group.concepts)
        return [Item(prompt, slug, seed, every) for seed in numbers]
    choices = targets(groups)
    return [Item(prompt, slug, n, target_of(choices, assignment, 0, 0, slug, i)) for i, n in enumerate(numbers)]
