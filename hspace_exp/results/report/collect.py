"""What a report is made of: records, the files beside them, and which images are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hspace_exp.errors import UserError
from hspace_exp.evaluation.items import FILE_NAME as JUDGED
from hspace_exp.evaluation.items import IDENTITY, read_judged
from hspace_exp.generation.manifest import Pair, read_manifest
from hspace_exp.results.record import RunRecord
from hspace_exp.results.tables.records import Found, find_records
from hspace_exp.results.tables.variants import strength_of

MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        folder: where it is.
        record: its numbers.
        pairs: its images; empty where they are gone.
        judged: rows of ``judged.csv`` by (profession, prompt, seed index, target), where there are any.
    """

    folder: Path
    record: RunRecord
    pairs: tuple[Pair, ...]
    judged: Mapping[tuple[str, ...], Mapping[str, str]]

    @property
    def edited(self) -> bool:
        """Whether images have unedited partners."""
        return any(pair.original != pair.edited for pair in self.pairs)

    @property
    def label(self) -> str:
        """Method and seed, and the strength where it is known."""
        strength = strength_of(self.record)
        shown = "" if strength is None else f", strength {strength:g}"
        return f"{self.record.method}{shown}, seed {self.record.seed}"

    def seen(self, pair: Pair) -> tuple[str, str] | None:
        """What the first judge saw before and after, or None where that is not written down."""
        row = self.judged.get((pair.profession, pair.prompt, str(pair.seed_index), pair.target))
        if row is None:
            return None
        ends = [f".{self.record.attribute}.{moment}" for moment in ("before", "after")]
        found = [next((row[name] for name in row if name.endswith(end)), "") for end in ends]
        return (found[0], found[1]) if all(found) else None


def collect(paths: Sequence[Path]) -> tuple[list[Run], list[Found]]:
    """All runs in and below ``paths``, and their records as tables take them.

    Raises:
        UserError: there is none, or a file is not whole.
    """
    found = find_records(paths)
    return [_run(path, record) for path, record in found], found


def chosen(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """At most ``count`` pairs, professions in turn, so that all of them are seen before one is seen twice."""
    queues: dict[str, list[Pair]] = {}
    for pair in pairs:
        queues.setdefault(pair.profession, []).append(pair)
    picked: list[Pair] = []
    for turn in range(max(map(len, queues.values()), default=0)):
        # Targets alternate along seeds and professions: shifted starts keep one target from being shown alone.
        picked += [queue[(turn + i) % len(queue)] for i, queue in enumerate(queues.values()) if turn < len(queue)]
    return picked[:count]


def _run(path: Path, record: RunRecord) -> Run:
    folder = path.parent
    pairs: list[Pair] = []
    if (folder / MANIFEST).exists():
        pairs = [pair for pair in read_manifest(folder / MANIFEST) if pair.original.exists() and pair.edited.exists()]
    rows = read_judged(folder) if (folder / JUDGED).exists() else []
    if rows and len(rows) < len(pairs):
        raise UserError(f"{folder / JUDGED} lists {len(rows)} of {len(pairs)} images: evaluate the run again")
    return Run(folder, record, tuple(pairs), {tuple(row[name] for name in IDENTITY): row for row in rows})
