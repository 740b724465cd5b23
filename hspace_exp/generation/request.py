"""What ``hspace-exp generate`` is asked for, which image gets what, and the images, manifest and grid."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

from hspace_exp.concepts.concept import Concept, load_concepts
from hspace_exp.config.checks import check_targets
from hspace_exp.config.cli import split_paths
from hspace_exp.config.command_line import CONF, KNOWN, choices, composed, one_line, quoted
from hspace_exp.errors import UserError, unknown
from hspace_exp.generation.generate import claim, generate
from hspace_exp.generation.grid import strip
from hspace_exp.generation.manifest import Pair, read_manifest, write_manifest
from hspace_exp.io.atomic import save_png
from hspace_exp.io.digest import digest, essential
from hspace_exp.io.progress import quieten
from hspace_exp.methods.base import Method
from hspace_exp.methods.frequency import LowFrequency
from hspace_exp.methods.steering import Edit, Strength, UneditedRuns, guidance_factor, strength_of
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.devices import resolve_device
from hspace_exp.models.sampling import Sampling
from hspace_exp.prompts.attributes import JOIN, ConceptPrompts, Concepts, Explicit, Group, kept_by, prompts_of, targets
from hspace_exp.prompts.explicit import explicit_prompts
from hspace_exp.prompts.plan import Item, target_of

log = logging.getLogger(__name__)

SUM = "sum"
_NAMING = ("method.edit", "frequency.transform")  # keys at which concept files may name what is of conf/
_make = partial(instantiate, _convert_="all")


def answer(**given: Any) -> None:
    """Make the images that the command line asks for.

    What is wrong with the request is said before the model is loaded. Raises UserError: something is unknown or does
    not fit.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    asked, concepts = read(**given)
    quieten()
    one_by_one = [] if any(Path(place).is_dir() for place in asked.concepts) else [*concepts]
    groups = asked_groups(concepts, asked.ask or one_by_one)
    items = items_of(asked.prompt, asked.seeds, groups, asked.assignment)
    if asked.respect_prompt:
        explicit = explicit_prompts(asked.prompt, groups)
        items = [replace(item, target="") if item.prompt in explicit else item for item in items]
    method, frequency, scheduler = map(_make, (asked.method, asked.frequency, asked.scheduler))
    if not method.edits:
        raise UserError(f"method {method.name!r} edits nothing: choose another, e.g. sdid")
    amounts = strengths(concepts, list(prompts_of(groups)), asked.strength, method.strength)
    backbone: Backbone = _make(asked.model)
    scale = scale_of([concepts[name] for name in amounts if asked.strength is None], backbone.guidance_scale)
    edit = edit_of((method, frequency), concepts, groups, amounts, scale, runs=UneditedRuns())
    backbone.encode_prompts(asked.prompt)  # refuses those that the model does not take whole
    for concept in concepts.values():
        concept.check(backbone)
    sampling = Sampling(asked.num_inference_steps, scheduler, asked.chunk_size)
    made_by = [sampling.describe(backbone), asked.image_seed, asked.prompt]
    vectors = {name: digest(concept.vector.flatten().tolist()) for name, concept in concepts.items()}
    how_edited = essential({"method": asked.method, "frequency": asked.frequency})
    edited_by = [*made_by, [(item.seed_index, item.target) for item in items], vectors, amounts, scale, how_edited]
    out, make = Path(asked.out), partial(generate, image_seed=asked.image_seed)
    for kind, by, how in (("original", made_by, method.before(edit, frequency)), ("edited", edited_by, edit)):
        folder, about = out / "images" / kind, f"{kind} images"
        claim(folder, own := digest(by))
        make(backbone, sampling, items, folder, edit=how, made_by=own, description=about)
    manifest = write_manifest(out, items, amounts, edited=True)
    rows: dict[str, list[Pair]] = {}
    for pair in read_manifest(manifest):
        label = pair.profession if len(asked.prompt) > 1 else "edited"
        rows.setdefault(label, []).append(replace(pair, profession=f"seed {pair.seed_index}"))
    save_png(out / "grid.png", strip(rows))
    log.info("%d images and their twins: %s", len(items), out / "grid.png")


def read(prompt: Sequence[str], concepts: Sequence[str], **given: Any) -> tuple[SimpleNamespace, dict[str, Concept]]:
    """The request in plain values, and the concepts of its files, whose own method is taken where none is named."""
    places = [path for text in concepts for path in split_paths(text)]
    found = load_concepts(places)
    overrides = [quoted(one) for one in given.pop("more", None) or ()]
    for group in ("model", "method", "frequency", "scheduler"):  # whose choices have flags
        if name := given.pop(group, ""):
            if name not in choices(group):
                raise unknown(group, name, choices(group))
            overrides.append(f"{group}={name}")
    if not any(one.startswith("method=") for one in overrides):
        own = [f"method={method_of(found.values())}", *applied(found.values())]
        chosen = any(one.startswith("frequency=") for one in overrides)
        overrides = [*(one for one in own if not (chosen and one.startswith("++frequency."))), *overrides]
    device = str(resolve_device(given.pop("device", "auto")))
    cfg = composed([f"device={device}", *overrides], "generate")
    del cfg.evaluator
    parts: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    check_targets(parts)
    read = {"prompt": prompt, "concepts": places, "ask": given.pop("ask", None) or []}
    read |= {"strength": amounts(given.pop("strength", None) or ()), "seeds": numbers(given.pop("seeds", "4"))}
    return SimpleNamespace(**{**parts, **given, **read}), found


def numbers(text: str) -> list[int]:
    """Seeds: so many, "8", or these, "3,5,9" and "3,"; none where the text says something else."""
    found = [int(part) for part in re.findall(r"\d+", text)] if re.fullmatch(r"\[?[\d, ]+\]?", text) else []
    return found if "," in text or "[" in text else [*range(*found)] if found else []


def amounts(texts: Sequence[str]) -> float | dict[str, float] | None:
    """A strength for all concepts, "2", or one each, "female=2,male=3"; None for no text. Raises UserError: others."""
    pairs = [part.replace(":", "=").rpartition("=") for text in texts for part in text.split(",")]
    try:
        found = {name.strip(): float(number) for name, _, number in pairs}
    except ValueError:
        found = {}
    if (pairs and not found) or ("" in found and len(pairs) > 1):
        raise UserError(f"expected a strength, 2 or female=2,male=3, got {', '.join(texts)!r}")
    return found.get("", found or None)


def method_of(concepts: Collection[Concept]) -> str:
    """The method by which concepts are applied: their own, where they share one that is known; else plain addition."""
    name, *others = {concept.method for concept in concepts}
    return name if not others and name in choices("method") else "sdid"


def applied(concepts: Collection[Concept]) -> tuple[str, ...]:
    """How concepts were applied by the runs that made them, as far as their files say so: overrides of conf/.

    That is their branch and, where they share a method, its window and edit and the low-frequency term. Names that
    files give are only compared with those of this package. Raises UserError: files say several things, what has no
    meaning, or a class of one's own.
    """
    branches = {one.used.branch for one in concepts}
    found = [f"method.branch={branch}" for branch in branches if branch is not None and len(branches) == 1]
    told = {str(how): (one.name, how) for one in concepts if (how := one.used.applied)}
    if not told or len({one.method for one in concepts}) > 1:
        return tuple(found)
    (name, how), *others = told.values()
    if others:
        raise UserError(f"{name!r} and {others[0][0]!r} were applied in different ways: say a method, e.g. sdid")
    try:
        for key, value in how.items():
            found += [f"++{key}=null", f"++{key}={_text(key, value)}"]  # or conf/ fills in what a class is not told
        configured(method_of(concepts), None, tuple(found))
    except KNOWN as error:
        wrong = one_line(error)
        raise UserError(f"how {name!r} was applied cannot be done ({wrong}): say a method, e.g. sdid") from error
    return tuple(found)


def _text(key: str, value: object) -> str:
    """A value in the grammar of overrides; classes and functions are ours. Raises UserError: one is not."""
    if not isinstance(value, dict):
        return json.dumps(value)
    if (target := value.get("_target_")) not in (own := _named(key)):
        raise UserError(f"{key} is {target}, which is not of this package")
    whole = value | {"_target_": own[target]} | ({"_partial_": True} if key == "frequency.transform" else {})
    return f"{{{','.join(f'{name}:{json.dumps(one)}' for name, one in whole.items())}}}"


def edit_of(
    way: tuple[Method, LowFrequency],
    concepts: Mapping[str, Concept],
    groups: Sequence[Group],
    strengths: Mapping[str, float],
    scale: float = 1.0,
    **more: Any,
) -> Edit:
    """The edit of images that are asked for some groups, at strengths of concepts, 0 for those that are not named.

    ``scale`` and ``more`` are those of ``Method.apply``.
    """
    (method, low), prompts = way, prompts_of(groups)
    method = replace(method, strength=dict.fromkeys(prompts, 0.0) | dict(strengths))
    return method.apply(prompts, concepts, kept_by(groups) if method.keeps else {}, low, scale, **more)


@cache
def configured(method: str, frequency: str | None = None, more: tuple[str, ...] = ()) -> tuple[Method, LowFrequency]:
    """A method as conf/ has it, with its low-frequency term or another of conf/, under ``more`` overrides.

    Raises UserError: unknown names, or a value that has no meaning.
    """
    for group, name in (("method", method), ("frequency", frequency)):
        if name is not None and name not in choices(group):
            raise unknown(group, name, choices(group))
    cfg = composed([f"method={method}", *([f"frequency={frequency}"] if frequency else []), *more], "generate")
    check_targets({key: OmegaConf.to_container(cfg[key], resolve=True) for key in ("method", "frequency")})
    return _make(cfg.method), _make(cfg.frequency)


def way_of(concepts: Collection[Concept], frequency: str | None = None) -> tuple[Method, LowFrequency]:
    """How concepts of one method are applied: as they were made, but for a choice of conf/frequency."""
    own = (one for one in applied(concepts) if frequency is None or not one.startswith("++frequency."))
    return configured(method_of(concepts), frequency, tuple(own))


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
        raise UserError(f"the concept files hold {names}: say which is asked for, e.g. --ask {next(iter(groups))}")
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
    known: Any = _attribute(attribute) if attribute in choices("attribute") else {}
    return Explicit(**{"words": [some.words or name for name, some in concepts.items()], **known.get("explicit", {})})


@cache
def _named(key: str) -> dict[str, str]:
    """Name → target of the classes or functions that our own conf/ has at a key: those that a concept file may name."""
    group, _, node = key.partition(".")
    files = [OmegaConf.load(CONF / group / f"{name}.yaml") for name in choices(group)] if key in _NAMING else []
    found = [OmegaConf.select(file, f"{node}._target_") for file in files]
    return {str(one).rpartition(".")[2]: str(one) for one in found if one}


@cache
def _attribute(name: str) -> Any:
    """The file of an attribute, read once, as a slider of the studio asks at every move."""
    return OmegaConf.to_container(OmegaConf.load(CONF / "attribute" / f"{name}.yaml"))


def strengths(
    concepts: Mapping[str, Concept], names: Sequence[str], given: Strength | None, default: Strength | str
) -> dict[str, float]:
    """Strength of each concept asked for: as given, or as its file says, or the method's; UserError: there is none."""
    found = {}
    for name in names:
        asked: Strength | str | None = concepts[name].used.strength if given is None else given
        asked = default if asked is None else asked
        if isinstance(asked, str):
            raise UserError(f"the file of {name!r} states no strength: give one, e.g. --strength 2")
        found[name] = strength_of(asked, name)
    return found


def scale_of(concepts: Iterable[Concept], used: float) -> float:
    """What brings the strengths of concept files from the guidance scale that they state to the one in use.

    Raises UserError: they state several.
    """
    stated = {used if one.used.guidance_scale is None else one.used.guidance_scale for one in concepts} or {used}
    if len(stated) > 1:
        told = " and ".join(f"{scale:g}" for scale in sorted(stated))
        raise UserError(f"the concept files state strengths at guidance scales {told}: give a --strength")
    return guidance_factor(stated.pop(), used)


def items_of(prompts: Sequence[str], seeds: Sequence[int], groups: Sequence[Group], assignment: str) -> list[Item]:
    """One item a prompt and seed, each prompt a batch of its own; items are told apart by a name of their prompt.

    Raises UserError: a prompt is empty or there twice, or the seeds are none, negative or named twice.
    """
    if not all(prompt.strip() for prompt in prompts):
        raise UserError('the prompt is empty: give one, e.g. "a photo of a doctor"')
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise UserError(f"expected seeds, how many (8) or which (3,5,9), each once, got {[*seeds]}")
    if len(set(prompts)) < len(prompts):
        raise UserError("a prompt is there twice: give each once, and more seeds")
    every = JOIN.join(name for group in groups for name in group.concepts)
    choices, found, slugs = targets(groups), [], set[str]()
    for p, prompt in enumerate(prompts):
        words = "".join(c if c.isalnum() else " " for c in prompt.lower()).split()
        slug = " ".join(words)[:40].strip() or "prompt"
        slug = next(name for name in (slug, *(f"{slug} {n}" for n in range(2, len(prompts) + 1))) if name not in slugs)
        slugs.add(slug)
        for i, seed in enumerate(seeds):
            target = every if assignment == SUM else target_of(choices, assignment, 0, p, slug, i)
            found.append(Item(prompt, slug, seed, target))
    return found
