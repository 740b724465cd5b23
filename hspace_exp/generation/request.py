"""What is asked of ``python -m hspace_exp generate``: its settings, the concept files, and which image gets what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

from hspace_exp.concepts.concept import Concept, load_concept
from hspace_exp.config.command_line import CONF
from hspace_exp.errors import UserError, unknown
from hspace_exp.methods.steering import strength_of
from hspace_exp.prompts.attributes import JOIN, ConceptPrompts, Explicit, Group, targets
from hspace_exp.prompts.plan import Item, target_of

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


def read_concepts(places: Any) -> dict[str, Concept]:
    """Concepts of files and folders, by name.

    Raises:
        UserError: none is named, one cannot be read, or two have the same name.
    """
    listed = _listed(places)
    if not listed:
        raise UserError("name concept files or a folder of them: concepts=[female.safetensors,male.safetensors]")
    found: dict[str, Concept] = {}
    for place in map(Path, listed):
        files = sorted(place.glob("*.safetensors")) if place.is_dir() else [place]
        if not files:
            raise UserError(f"{place} holds no concept files (*.safetensors): name a run's folder concepts")
        for file in files:
            concept = load_concept(file)
            if concept.name in found:
                raise UserError(f"two of the concept files are named {concept.name!r}: name each concept once")
            found[concept.name] = concept
    return found


def named_one_by_one(places: Any, concepts: Mapping[str, Concept]) -> list[str]:
    """The names of all concepts, where each was named by its own file: then each is asked for."""
    return [] if any(Path(place).is_dir() for place in _listed(places)) else [*concepts]


def method_of(concepts: Mapping[str, Concept]) -> str:
    """The method by which concepts are applied: their own, where they share one that is known; else plain addition."""
    names = {concept.method for concept in concepts.values()}
    name = names.pop() if len(names) == 1 else ""
    return name if (CONF / "method" / f"{name}.yaml").exists() else "sdid"


def asked_groups(concepts: Mapping[str, Concept], ask: Any) -> tuple[Group, ...]:
    """The concepts that images are asked for, a group an attribute; what the files hold besides is to be kept.

    Raises:
        UserError: an unknown name, or several attributes of which none is chosen.
    """
    by_attribute: dict[str, dict[str, Concept]] = {}
    for name, concept in concepts.items():
        by_attribute.setdefault(concept.attribute, {})[name] = concept
    chosen = _listed(ask)
    for name in chosen:
        if name not in (*by_attribute, *concepts):
            raise unknown("concept or attribute to ask for", name, (*by_attribute, *concepts))
    if not chosen and len(by_attribute) > 1:
        names = ", ".join(by_attribute)
        raise UserError(f"the concept files hold {names}: say which is asked for, e.g. ask={next(iter(by_attribute))}")
    wanted = {
        attribute: {name: one for name, one in some.items() if not chosen or {name, attribute} & set(chosen)}
        for attribute, some in by_attribute.items()
    }
    keep = {name: _prompts(some) for name, some in by_attribute.items() if not wanted[name] and len(some) > 1}
    return tuple(
        Group(attribute, "person", _prompts(some), keep, _explicit(attribute, some))
        for attribute, some in wanted.items()
        if some
    )


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
    numbers = list(range(seeds)) if isinstance(seeds, int) and not isinstance(seeds, bool) else _listed(seeds)
    if not numbers or not all(isinstance(n, int) and n >= 0 for n in numbers) or len(set(numbers)) < len(numbers):
        raise UserError(f"expected seeds, how many (seeds=8) or which (seeds=[3,5,9]), each once, got {seeds}")
    words = "".join(c if c.isalnum() else " " for c in prompt.lower()).split()
    slug = " ".join(words)[:_LONGEST_SLUG].strip() or "prompt"
    if assignment == SUM:
        every = JOIN.join(name for group in groups for name in group.concepts)
        return [Item(prompt, slug, seed, every) for seed in numbers]
    choices = targets(groups)
    return [Item(prompt, slug, n, target_of(choices, assignment, 0, i, slug, 0)) for i, n in enumerate(numbers)]


def _prompts(concepts: Mapping[str, Concept]) -> dict[str, ConceptPrompts]:
    return {name: ConceptPrompts.of(concept.prompts) for name, concept in concepts.items()}


def _explicit(attribute: str, concepts: Mapping[str, Concept]) -> Explicit:
    """How a prompt names the attribute: the lists of its file, or the words of the concepts."""
    file = CONF / "attribute" / f"{attribute}.yaml"
    listed: Any = OmegaConf.to_container(OmegaConf.load(file)) if file.exists() else {}
    words = [concept.prompts.get("words", name) for name, concept in concepts.items()]
    return Explicit(**{"words": words, **listed.get("explicit", {})})


def _listed(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
