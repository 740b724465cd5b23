"""Which images a run makes: prompts, seeds, what each is asked for, and the manifest that lists them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hspace_exp.errors import UserError, unknown
from hspace_exp.evaluation.pairs import COLUMNS
from hspace_exp.io.atomic import write_text
from hspace_exp.io.seeding import generator
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import parts_of
from hspace_exp.prompts.wording import article


@dataclass(frozen=True)
class Item:
    """One image to make: ``target`` is the concept asked for, "" for none, "female+dark" for several."""

    prompt: str
    profession: str
    seed_index: int
    target: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """The concepts asked for."""
        return parts_of(self.target)

    @property
    def file(self) -> str:
        """Where the image is, below a folder."""
        return f"{self.profession.replace(' ', '_')}/{self.seed_index:04d}.png"


def plan(
    professions: Sequence[str],
    templates: Sequence[str],
    count: int,
    concepts: Sequence[str] = (),
    assignment: str = "balanced",
    seed: int = 0,
) -> list[Item]:
    """Which images are made.

    Args:
        professions: names.
        templates: wordings; seed i takes wording i modulo their number.
        count: images of each profession.
        concepts: what may be asked for, concepts or compositions of them; none for the unedited model.
        assignment: ``balanced`` gives every concept the same share of a profession's seeds (as nearly as ``count``
            allows), ``random`` draws, a concept's name asks it of every image.
        seed: of ``random``.
    """
    items = []
    for p, profession in enumerate(professions):
        name = profession.lower()
        for i in range(count):
            prompt = templates[i % len(templates)].format(a=article(name), profession=name)
            target = target_of(concepts, assignment, seed, p, profession, i) if concepts else ""
            items.append(Item(prompt, profession, i, target))
    return items


def target_of(concepts: Sequence[str], assignment: str, seed: int, p: int, profession: str, i: int) -> str:
    """What image ``i`` of the ``p``-th profession is asked for, see ``plan``."""
    if assignment == "balanced":
        return concepts[(i + p) % len(concepts)]  # who gets the odd one out differs from profession to profession
    if assignment == "random":
        drawn = torch.randint(len(concepts), (), generator=generator("assignment", seed, profession, i))
        return concepts[int(drawn)]
    if assignment not in concepts:
        raise unknown("assignment", assignment, ("balanced", "random", *concepts))
    return assignment


def write_manifest(run_dir: Path, items: Sequence[Item], strength: Mapping[str, float], edited: bool) -> Path:
    """Write ``manifest.csv``. Without an edit the edited image is the unedited one.

    ``strength`` is each concept's; of a composition the manifest tells the largest of its parts.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for item in items:
        original = f"images/original/{item.file}"
        shown = f"images/edited/{item.file}" if edited else original
        amount = max((strength[name] for name in item.parts), default=0.0) if edited else 0.0
        writer.writerow([item.prompt, item.profession, item.seed_index, item.target, amount, original, shown])
    path = run_dir / "manifest.csv"
    write_text(path, text.getvalue())
    return path


def check_prompts(backbone: Backbone, prompts: Sequence[str]) -> None:
    """Refuse prompts that the model's tokenizer does not take whole, before anything expensive happens."""
    if not prompts:
        raise UserError("there are no prompts: name at least one profession and one template")
    backbone.encode_prompts(list(dict.fromkeys(prompts)))
