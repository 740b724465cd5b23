"""Which images a run makes: prompts, seeds, and what each is asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch

from hspace_exp.errors import unknown
from hspace_exp.io.seeding import generator, seed_of
from hspace_exp.prompts.attributes import parts_of
from hspace_exp.prompts.wording import article


@dataclass(frozen=True)
class Item:
    """One image to make: ``target`` is the concept asked for, "" for none, "female+dark" for several."""

    prompt: str
    profession: str
    seed_index: int
    target: str = ""
    folder: str = ""  # of its images; "": named by the profession

    @property
    def parts(self) -> tuple[str, ...]:
        """The concepts asked for."""
        return parts_of(self.target)

    @property
    def file(self) -> str:
        """Where the image is, below a folder."""
        return f"{self.folder or self.profession.replace(' ', '_')}/{self.seed_index:04d}.png"


def plan(
    professions: Collection[str],
    templates: Sequence[str],
    count: int,
    concepts: Sequence[str] = (),
    assignment: str = "balanced",
    seed: int = 0,
    groups: Mapping[str, str] | None = None,
) -> list[Item]:
    """Which images are made, ``count`` of each profession; seed i takes template i modulo their number.

    ``concepts`` are what may be asked for, concepts or compositions of them; none for the unedited model. The
    assignment ``balanced`` gives every concept the same share of a profession's seeds (as nearly as ``count`` allows),
    ``random`` draws by ``seed``, a concept's name asks it of every image. With ``groups`` what stands for professions
    are whole prompts, by which images lie in folders, and ``groups`` tells what each counts as.
    """
    items = []
    for p, profession in enumerate(professions):
        name, folder = profession.lower(), f"listed/{seed_of(profession):016x}" if groups else ""
        for i in range(count):
            prompt = profession if groups else templates[i % len(templates)].format(a=article(name), profession=name)
            target = target_of(concepts, assignment, seed, p, profession, i) if concepts else ""
            items.append(Item(prompt, groups[profession] if groups else profession, i, target, folder))
    return items


def target_of(concepts: Sequence[str], assignment: str, seed: int, p: int, profession: str, i: int) -> str:
    """What image ``i`` of the ``p``-th profession is asked for, see ``plan``."""
    if assignment == "balanced":
        return concepts[(i + p) % len(concepts)]  # who gets the odd one out differs from profession to profession
    if assignment == "random":
        drawn = torch.randint(len(concepts), (), generator=generator("assignment", seed, profession, i))
        return concepts[int(drawn)]
    check_assignment(assignment, concepts)
    return assignment


def check_assignment(assignment: str, concepts: Sequence[str]) -> None:
    """Check that images can be asked for what ``protocol.assignment`` says, see ``plan``.

    Raises UserError: it is neither a way of sharing out nor a concept.
    """
    choices = ("balanced", "random", *concepts)
    if assignment not in choices:
        raise unknown("assignment (protocol.assignment)", assignment, choices)
