"""What ``python -m hspace_exp generate`` is asked for, which image gets what, and the images, manifest and grid."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig, OmegaConf

from hspace_exp.concepts.concept import Concept, load_concepts
from hspace_exp.config.checks import check_targets
from hspace_exp.config.command_line import CONF
from hspace_exp.config.schema import register
from hspace_exp.errors import UserError, unknown
from hspace_exp.generation.generate import claim, generate
from hspace_exp.generation.grid import strip
from hspace_exp.generation.manifest import read_manifest, write_manifest
from hspace_exp.io.atomic import save_png
from hspace_exp.io.digest import digest, essential
from hspace_exp.io.progress import quieten
from hspace_exp.methods.base import Method
from hspace_exp.methods.steering import strength_of
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.devices import resolve_device
from hspace_exp.models.prompts import check_prompts
from hspace_exp.models.sampling import Sampling
from hspace_exp.prompts.attributes import JOIN, ConceptPrompts, Concepts, Explicit, Group, kept_by, prompts_of, targets
from hspace_exp.prompts.explicit import explicit_prompts
from hspace_exp.prompts.plan import Item, target_of

log = logging.getLogger(__name__)

SUM = "sum"
_LONGEST_SLUG = 40


@dataclass
class Request:
    """Root of ``conf/generate.yaml``.

    Attributes:
        prompt: of all images.
        concepts: files, or folders of them such as a run's ``concepts``.
        ask: the attribute or the concepts to ask for, where the files hold several attributes; the others are kept.
        strength: one number, or one a concept; null takes what the files say.
        seeds: how many, or which.
        assignment: which image is asked for what.
        respect_prompt: leave a prompt alone that names the attribute itself.
    """

    prompt: str = MISSING
    concepts: Any = field(default_factory=list)
    ask: Any = field(default_factory=list)
    strength: Any = None
    seeds: Any = 4
    assignment: str = "balanced"
    respect_prompt: bool = True
    num_inference_steps: int = 20
    image_seed: int = 0
    device: str = "auto"
    chunk_size: int = 8
    out: str = "outputs/generate"
    model: Any = MISSING
    scheduler: Any = MISSING
    mask: Any = MISSING
    frequency: Any = MISSING
    method: Any = MISSING


def answer(overrides: Sequence[str]) -> None:
    """Make the images that ``conf/generate.yaml`` with some overrides asks for.

    What is wrong with the request is said before the model is loaded.

    Raises:
        UserError: something is missing, unknown or does not fit.
    """
    cfg = compose_request(overrides)
    quieten()
    cfg.device = str(resolve_device(cfg.device))
    plain: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    check_targets(plain)
    places = listed(plain["concepts"])
    concepts = load_concepts(places)
    one_by_one = [] if any(Path(place).is_dir() for place in places) else [*concepts]
    groups = asked_groups(concepts, listed(plain["ask"]) or one_by_one)
    items = items_of(plain["prompt"], plain["seeds"], groups, plain["assignment"])
    if plain["num_inference_steps"] < 1 or plain["chunk_size"] < 1:
        raise UserError("expected num_inference_steps and chunk_size of at least 1")
    if plain["respect_prompt"] and explicit_prompts([plain["prompt"]], groups):
        items = [replace(item, target="") for item in items]
    method: Method = instantiate(cfg.method, _convert_="all")
    if not method.edits:
        raise UserError(f"method {method.name!r} edits nothing: choose another, e.g. method=sdid")
    prompts, keep = prompts_of(groups), kept_by(groups) if method.keeps else {}
    amounts = strengths(concepts, list(prompts), plain["strength"], method.strength_of)
    method = replace(method, strength=amounts)
    edit = method.apply(prompts, concepts, keep, instantiate(cfg.frequency, _convert_="all"))
    sampling = Sampling(plain["num_inference_steps"], instantiate(cfg.scheduler, _convert_="all"), plain["chunk_size"])
    backbone: Backbone = instantiate(cfg.model, _convert_="all")
    check_prompts(backbone.encode_prompts, [plain["prompt"]])
    for concept in concepts.values():
        concept.check(backbone)
    out, seed = Path(plain["out"]), plain["image_seed"]
    made_by = {"sampling": sampling.describe(backbone), "image_seed": seed, "prompt": plain["prompt"]}
    edited_by = {**made_by, "items": [[i.seed_index, i.target] for i in items], "strength": amounts}
    edited_by |= {
        "method": essential(plain["method"], "method"),
        "frequency": essential(plain["frequency"], "frequency"),
    }
    edited_by |= {"vectors": {name: digest(concept.vector.flatten().tolist()) for name, concept in concepts.items()}}
    for kind, by, how in (("original", made_by, None), ("edited", edited_by, edit)):
        folder = out / "images" / kind
        claim(folder, digest(by))
        generate(backbone, sampling, items, folder, image_seed=seed, edit=how, description=f"{kind} images")
    manifest = write_manifest(out, items, amounts, edited=True)
    pairs = [replace(pair, profession=f"seed {pair.seed_index}") for pair in read_manifest(manifest)]
    save_png(out / "grid.png", strip({"edited": pairs}))
    log.info("%d images and their twins: %s", len(items), out / "grid.png")


def compose_request(given: Sequence[str]) -> DictConfig:
    """``conf/generate.yaml`` with overrides; where no method is named, that of the concept files is taken."""
    register()
    ConfigStore.instance().store(name="generate_schema", node=Request)
    overrides = {one.key_or_group: one.value() for one in OverridesParser.create().parse_overrides(list(given))}
    for key in ("prompt", "concepts"):
        if key not in overrides:
            raise UserError(f"{key}=… is missing; --help shows examples")
    places = [str(one) for one in listed(overrides["concepts"])]
    chosen = [] if "method" in overrides else [f"method={method_of(load_concepts(places))}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("generate", [*given, *chosen])


def listed(value: Any) -> list[Any]:
    """A setting that is one value or several, as several; none of null and ""."""
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def method_of(concepts: Mapping[str, Concept]) -> str:
    """The method by which concepts are applied: their own, where they share one that is known; else plain addition."""
    names = {concept.method for concept in concepts.values()}
    name = names.pop() if len(names) == 1 else ""
    return name if (CONF / "method" / f"{name}.yaml").exists() else "sdid"


def asked_groups(concepts: Mapping[str, Concept], ask: Sequence[str]) -> tuple[Group, ...]:
    """The concepts that images are asked for, a group an attribute; what the files hold besides is to be kept.

    Args:
        concepts: of the files.
        ask: names of attributes and of concepts; none asks for all of one attribute.

    Raises:
        UserError: an unknown name, or several attributes of which none is chosen.
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
    file = CONF / "attribute" / f"{attribute}.yaml"
    known: Any = OmegaConf.to_container(OmegaConf.load(file)) if file.exists() else {}
    words = [prompts.words or name for name, prompts in concepts.items()]
    return Explicit(**{"words": words, **known.get("explicit", {})})


def strengths(
    concepts: Mapping[str, Concept], names: Sequence[str], given: Any, default: Callable[[str], float]
) -> dict[str, float]:
    """Strength of each concept asked for: as given, or as its file says, or the method's."""
    found = {}
    for name in names:
        asked = concepts[name].hyperparameters.get("strength") if given is None else given
        found[name] = default(name) if asked is None else strength_of(asked, name)
    return found


def items_of(prompt: str, seeds: Any, groups: Sequence[Group], assignment: str) -> list[Item]:
    """One item a seed.

    Raises:
        UserError: the prompt is empty, or the seeds are not whole numbers of at least 0.
    """
    if not prompt.strip():
        raise UserError('the prompt is empty: give one, e.g. prompt="a photo of a doctor"')
    numbers = list(range(seeds)) if isinstance(seeds, int) and not isinstance(seeds, bool) else listed(seeds)
    if not numbers or not all(isinstance(n, int) and n >= 0 for n in numbers) or len(set(numbers)) < len(numbers):
        raise UserError(f"expected seeds, how many (seeds=8) or which (seeds=[3,5,9]), each once, got {seeds}")
    words = "".join(c if c.isalnum() else " " for c in prompt.lower()).split()
    slug = " ".join(words)[:_LONGEST_SLUG].strip() or "prompt"
    if assignment == SUM:
        every = JOIN.join(name for group in groups for name in group.concepts)
        return [Item(prompt, slug, seed, every) for seed in numbers]
    choices = targets(groups)
    return [Item(prompt, slug, n, target_of(choices, assignment, 0, i, slug, 0)) for i, n in enumerate(numbers)]
