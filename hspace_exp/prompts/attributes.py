"""What an attribute's file asks for: one group of concepts that exclude each other, or a composition of several."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hspace_exp.errors import UserError

# Between the concepts of a composition, as in "female+dark".
JOIN = "+"

# What an image shows that does not show the only concept of a group.
NEUTRAL = "neutral"

Prompts = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Group:
    """Concepts that exclude each other.

    Attributes:
        name: of the group, e.g. ``gender``.
        part: mask of rendered images that shows it.
        concepts: name → ``positive``, ``neutral`` and ``words``.
        keep: other group → its concepts, which a method may hold fast.
        explicit: how a prompt names the attribute itself, see ``hspace_exp.prompts.explicit``.
    """

    name: str
    part: str
    concepts: Prompts
    keep: Mapping[str, Prompts] = field(default_factory=dict)
    explicit: Mapping[str, Sequence[str]] = field(default_factory=dict)


def parts_of(target: str) -> tuple[str, ...]:
    """The concepts of a target: ("female", "dark") of "female+dark", none of ""."""
    return tuple(target.split(JOIN)) if target else ()


def groups_of(attribute: Mapping[str, Any]) -> tuple[Group, ...]:
    """The groups of an attribute's node: one, or those that it composes, in the order of the file.

    Raises:
        UserError: a name does not tell which concept is meant.
    """
    found = tuple(
        Group(some["name"], some["part"], some["concepts"], some["keep"], some.get("explicit") or {})
        for some in (attribute.get("groups") or {"": attribute}).values()
    )
    if attribute.get("groups") and attribute["concepts"]:
        raise UserError("an attribute has either concepts or groups, not both: move its concepts into a group")
    names = [name for group in found for name in group.concepts]
    for name in names:
        if JOIN in name or names.count(name) > 1:
            raise UserError(
                f"expected names of concepts without {JOIN!r}, each once in all groups of an attribute, got {name!r}"
            )
    return found


def targets(groups: Sequence[Group]) -> list[str]:
    """All that an image can be asked for: one concept of each group, e.g. "female+dark".

    Parts are named in the order of the groups; the list itself is in an order that the groups' order does not change.
    """
    if not groups:
        return []
    ranks = sorted(range(len(groups)), key=lambda k: groups[k].name)
    found = []
    for chosen in itertools.product(*(groups[k].concepts for k in ranks)):
        by_group = dict(zip(ranks, chosen, strict=True))
        found.append(JOIN.join(by_group[k] for k in range(len(groups))))
    return found


def combinations(values: Mapping[str, Sequence[str]]) -> list[str]:
    """Names of all combinations of several attributes' values; the last attribute varies fastest."""
    return [JOIN.join(chosen) for chosen in itertools.product(*values.values())]


def prompts_of(groups: Sequence[Group]) -> dict[str, Mapping[str, str]]:
    """Prompts of every concept that can be asked for."""
    return {name: prompts for group in groups for name, prompts in group.concepts.items()}


def judged_by(groups: Sequence[Group]) -> dict[str, dict[str, str]]:
    """Texts of the values of each group: what a zero-shot judge may tell them apart by.

    A concept alone in its group is told from its neutral prompt.
    """
    texts = {}
    for group in groups:
        values = {name: prompts["positive"] for name, prompts in group.concepts.items()}
        neutral = {NEUTRAL: next(iter(group.concepts.values()))["neutral"]} if len(values) == 1 else {}
        texts[group.name] = values | neutral
    return texts


def kept_by(groups: Sequence[Group]) -> dict[str, Prompts]:
    """The other groups that may be held fast; what is asked for is not."""
    asked = {group.name for group in groups}
    return {name: some for group in groups for name, some in group.keep.items() if name not in asked}


def learnt_together(groups: Sequence[Group], keeps: bool) -> list[tuple[Group, ...]]:
    """Groups whose vectors are learnt in one go.

    Each is learnt as it is when asked for alone, so that runs share vectors. Only groups whose sets of concepts overlap
    (because one is kept while the other is asked for) are learnt together.

    Args:
        groups: of an attribute.
        keeps: whether the groups to keep are learnt, too.
    """
    teams: list[tuple[tuple[Group, ...], set[str]]] = []
    for group in sorted(groups, key=lambda one: one.name):
        names = set(group.concepts)
        if keeps:
            names |= {name for some in group.keep.values() for name in some}
        joined: tuple[Group, ...] = (group,)
        for team in [team for team in teams if team[1] & names]:
            teams.remove(team)
            joined, names = team[0] + joined, team[1] | names
        teams.append((joined, names))
    return [team for team, _ in teams]
