"""What an attribute's file asks for: one group of concepts that exclude each other, or a composition of several.

The classes of its nodes are part of the schema of configurations, which OmegaConf would make read-only if frozen.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from omegaconf import MISSING
from pydantic import AfterValidator, TypeAdapter

from hspace_exp.errors import UserError


def _named(text: str) -> str:
    if not text.strip(" .") or len(text) > _LONGEST_NAME or any(c in "/\\" or not c.isprintable() for c in text):
        raise ValueError("a name that a file can have")
    return text


_LONGEST_NAME = 120
# What names files or folders, too.
Name = Annotated[str, AfterValidator(_named)]

# Between the concepts of a composition, as in "female+dark".
JOIN = "+"

# What an image shows that does not show the only concept of a group.
NEUTRAL = "neutral"

# Keys of an attribute's node that make a concept from words alone, see ``with_own_concept``.
OWN_KEYS = ("positive", "neutral", "words", "concept")
_ARTICLES = ("a", "an", "the")
_MARKS = r"\x00-\x1f!-,/:-@\[-^`{-\xa0\u2000-\u206f"  # of ASCII but for . - _, and what is not seen
_NAME = re.compile(rf"(?![ .-])[^{_MARKS}]{{1,100}}")


def named(name: str) -> str:
    """A name of a concept, attribute or method, which files, keys and cells are named by; UserError: it cannot be."""
    if not _NAME.fullmatch(name):
        raise UserError(f"expected a name of at most 100 letters, digits, spaces, '.', '-' and '_', got {name!r:.120}")
    return name


@dataclass
class ConceptPrompts:
    """Prompts of one concept; "" where a file does not tell."""

    positive: str = ""  # images of it are made from this, e.g. "a photo of a woman"
    neutral: str = ""  # the same without the attribute, e.g. "a photo of a person"
    words: str = ""  # the words of ``positive`` that carry the attribute
    adjective: str = ""  # what stands before a profession ("female" in "a female nurse"), where it is not ``words``

    @classmethod
    def of(cls, node: Mapping[str, str]) -> ConceptPrompts:
        """The prompts in a concept file's metadata."""
        return cls(*(str(node.get(key) or "") for key in ("positive", "neutral", "words", "adjective")))

    def plain(self) -> dict[str, str]:
        """Those that are there, by their names."""
        return {key: text for key, text in asdict(self).items() if text}


# Concept → its prompts.
Concepts = Mapping[str, ConceptPrompts]


@dataclass
class Explicit:
    """Word lists by which a prompt names an attribute, see ``hspace_exp.prompts.explicit``."""

    # that name it wherever they stand, e.g. "woman", "light-skinned". ``#`` stands for a number, ``(a|b)`` for one of
    # several: "# years old", "in (his|her|their) (20s|twenties)"
    words: list[str] = field(default_factory=list)
    # that name it only of a person, e.g. "old": "an old doctor" and "the doctor is old", not "an old tower"
    adjectives: list[str] = field(default_factory=list)
    neutral: list[str] = field(default_factory=list)  # phrases that are taken out first, e.g. "his or her"


@dataclass
class Group:
    """Concepts that exclude each other."""

    name: str = MISSING  # of the group, e.g. ``gender``
    part: str = MISSING  # mask of rendered images that shows it
    concepts: dict[str, ConceptPrompts] = field(default_factory=dict)  # by name
    # other group → its concepts, which a method may hold fast
    keep: dict[str, dict[str, ConceptPrompts]] = field(default_factory=dict)
    explicit: Explicit = field(default_factory=Explicit)  # how a prompt names the attribute itself


@dataclass(frozen=True)
class Attribute:
    """What a run asks for."""

    name: str  # e.g. ``gender``, or ``gender_age``
    groups: tuple[Group, ...]  # one, or those that it composes, in the order of the file
    is_composition: bool = False  # whether an image is asked for one concept of each of several groups

    @classmethod
    def of(cls, node: Mapping[str, Any]) -> Attribute:
        """The attribute of a configuration's node, see ``with_own_concept``.

        Raises UserError: a group has no concept, or a name does not tell which concept is meant.
        """
        composed = node.get("groups") or {}
        if composed and node["concepts"]:
            raise UserError("an attribute has either concepts or groups, not both: move its concepts into a group")
        read = TypeAdapter(Group).validate_python
        groups = tuple(read(some) for some in (composed or {"": node}).values())
        for group in groups:
            if not group.concepts:
                raise UserError(f"concepts of the attribute {group.name} is empty: name at least one")
            named(group.name)
            for name, one in itertools.chain(*(some.items() for some in (group.concepts, *group.keep.values()))):
                named(name)
                if not (one.positive and one.neutral and one.words):
                    raise UserError(f"concept {name!r} of the attribute {group.name} needs positive, neutral and words")
        names = [name for group in groups for name in group.concepts]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(f"expected each concept once in an attribute, got {twice[0]!r} again")
        return cls(node["name"], groups, bool(composed))

    @property
    def parts(self) -> list[str]:
        """Names of the groups that are composed; none of a plain attribute."""
        return [group.name for group in self.groups] if self.is_composition else []


def parts_of(target: str) -> tuple[str, ...]:
    """The concepts of a target: ("female", "dark") of "female+dark", none of ""."""
    return tuple(target.split(JOIN)) if target else ()


def targets(groups: Sequence[Group]) -> list[str]:
    """All that an image can be asked for: one concept of each group, e.g. "female+dark".

    Parts are named in the order of the groups; the list itself is in an order that the groups' order does not change.
    """
    ranks = sorted(range(len(groups)), key=lambda k: groups[k].name)
    chosen = itertools.product(*(groups[k].concepts for k in ranks)) if groups else ()
    return [JOIN.join(name for _, name in sorted(zip(ranks, names, strict=True))) for names in chosen]


def prompts_of(groups: Sequence[Group]) -> dict[str, ConceptPrompts]:
    """Prompts of every concept that can be asked for."""
    return {name: prompts for group in groups for name, prompts in group.concepts.items()}


def judged_by(groups: Sequence[Group]) -> dict[str, dict[str, str]]:
    """Texts of the values of each group: what a zero-shot judge may tell them apart by.

    A concept alone in its group is told from its neutral prompt.
    """
    texts = {}
    for group in groups:
        texts[group.name] = {name: prompts.positive for name, prompts in group.concepts.items()}
        if len(group.concepts) == 1:
            texts[group.name][NEUTRAL] = next(iter(group.concepts.values())).neutral
    return texts


def kept_by(groups: Sequence[Group]) -> dict[str, Concepts]:
    """The other groups that may be held fast; what is asked for is not."""
    asked = {group.name for group in groups}
    return {name: some for group in groups for name, some in group.keep.items() if name not in asked}


def learnt_together(groups: Sequence[Group], keeps: bool) -> list[tuple[Group, ...]]:
    """Groups whose vectors are learnt in one go; ``keeps`` says whether the groups to keep are learnt, too.

    Each is learnt as it is when asked for alone, so that runs share vectors. Only groups whose sets of concepts overlap
    (because one is kept while the other is asked for) are learnt together.
    """
    teams: list[tuple[tuple[Group, ...], set[str]]] = []
    for group in sorted(groups, key=lambda one: one.name):
        names = {*group.concepts, *(name for some in group.keep.values() for name in some if keeps)}
        joined: tuple[Group, ...] = (group,)
        for team in [team for team in teams if team[1] & names]:
            teams.remove(team)
            joined, names = team[0] + joined, team[1] | names
        teams.append((joined, names))
    return [team for team, _ in teams]


def with_own_concept(attribute: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved node ``attribute``; its ``positive`` and ``neutral``, if there, became one of its ``concepts``.

    It is told by a prompt with the concept, e.g. "a photo of a smiling person", and the same without it. Its ``words``
    are by default those that ``neutral`` lacks, its name by default its words.

    Raises UserError: one of the two prompts is missing, they do not differ, or the attribute has concepts already.
    """
    own = {key: str(attribute.get(key) or "").strip() for key in OWN_KEYS}
    # a plain attribute is described, and digested, without groups
    found = {key: value for key, value in attribute.items() if key not in OWN_KEYS and (value or key != "groups")}
    if not (found["concepts"] or found.get("groups")):
        if lacking := " and ".join(f"attribute.{key}" for key in OWN_KEYS[:2] if not own[key]):
            example = 'attribute.positive="a photo of a smiling person" attribute.neutral="a photo of a person"'
            raise UserError(f"attribute=custom needs {lacking}: for example {example}")
        words = own["words"] or differing(own["positive"], own["neutral"])
        name = own["concept"] or re.sub(r"\W+", "_", words.lower()).strip("_")
        found["concepts"] = {name: asdict(ConceptPrompts(own["positive"], own["neutral"], words))}
    elif any(own.values()):
        raise UserError(f"attribute {found['name']!r} has concepts: positive and neutral are for attribute=custom")
    return found


def differing(positive: str, neutral: str) -> str:
    """The longest run of words that ``positive`` has and ``neutral`` lacks, without an article before it."""
    ours, theirs = positive.split(), neutral.split()
    blocks = difflib.SequenceMatcher(None, [w.lower() for w in theirs], [w.lower() for w in ours], autojunk=False)
    runs = [ours[start:stop] for kind, _, _, start, stop in blocks.get_opcodes() if kind in ("insert", "replace")]
    runs = [run[1:] if run and run[0].lower() in _ARTICLES else run for run in runs]
    longest = max(runs, key=len, default=[])
    if not longest:
        told = f"the neutral prompt {neutral!r} lacks no word of {positive!r}"
        raise UserError(f"{told}: give it others, or name the words with attribute.words=…")
    return " ".join(longest)
