"""Runs as tables, reports and figures take them: records, the files beside them, and which images are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hspace_exp.errors import UserError
from hspace_exp.io.rows import read_rows
from hspace_exp.results.record import FILE_NAME, PACKED, RunRecord, read_packed, read_record

if TYPE_CHECKING:  # what imports torch, which tables do without
    from hspace_exp.generation.manifest import Pair

LOSS = "loss/"


@dataclass(frozen=True)
class Run:
    """One run: the file that holds its record, and the record; what lies beside it is read when it is asked for."""

    path: Path
    record: RunRecord

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.path.parent

    @cached_property
    def pairs(self) -> list[Pair]:
        """Pairs of images; those that are gone are left out."""
        from hspace_exp.generation.manifest import read_manifest

        manifest = self.folder / "manifest.csv"
        found = read_manifest(manifest) if manifest.exists() else []
        return [pair for pair in found if pair.original.exists() and pair.edited.exists()]

    @cached_property
    def judged(self) -> dict[tuple[str, ...], dict[str, str]]:
        """Rows of ``judged.csv`` by (profession, prompt, seed index, target), where there are any.

        Raises UserError: it lacks images.
        """
        from hspace_exp.evaluation.judged_csv import FILE_NAME, IDENTITY, read_judged

        file = self.folder / FILE_NAME
        rows = read_judged(file) if file.exists() else []
        if rows and len(rows) < len(self.pairs):
            raise UserError(f"{file} lists {len(rows)} of {len(self.pairs)} images: evaluate the run again")
        return {tuple(row[name] for name in IDENTITY): row for row in rows}

    @property
    def edited(self) -> bool:
        """Whether images have unedited partners."""
        return any(pair.original != pair.edited for pair in self.pairs)

    @property
    def label(self) -> str:
        """Method and seed, and the strength where it is known."""
        strength = self.record.strength
        shown = "" if strength is None else f", strength {strength:g}"
        return f"{self.record.method}{shown}, seed {self.record.seed}"

    def losses(self) -> dict[str, dict[int, float]]:
        """Concept → step → training loss, where the run trained vectors and logged them in ``metrics.csv``."""
        path = self.folder / "metrics.csv"
        rows = read_rows(path, (), "run the training again", absent="") if path.is_file() else [{}]
        curves = {
            name.removeprefix(LOSS): {int(row["step"]): float(row[name]) for row in rows if row[name] and row["step"]}
            for name in rows[0]
            if name.startswith(LOSS)
        }
        return {name: curve for name, curve in curves.items() if len(curve) > 1}

    def concepts(self) -> list[Path]:
        """Its vectors' files."""
        return sorted((self.folder / "concepts").glob("*.safetensors"))

    def judgement(self, pair: Pair) -> tuple[str, str] | None:
        """What the first judge saw before and after, or None where that is not written down."""
        row = self.judged.get((pair.profession, pair.prompt, str(pair.seed_index), pair.target), {})
        ends = [f".{self.record.attribute}.{moment}" for moment in ("before", "after")]
        found = [next((row[name] for name in row if name.endswith(end)), "") for end in ends]
        return (found[0], found[1]) if all(found) else None


def find_runs(paths: Iterable[str | Path]) -> list[Run]:
    """All runs whose records are in and below ``paths``, files of their own or packed, each once.

    Raises UserError: a path does not exist, no record is found, or one is not whole.
    """
    files: dict[Path, None] = {}
    folders = [Path(path) for path in paths]
    for path in folders:
        if not path.exists():
            raise UserError(f"no such file or folder: {path}")
        inside = (file for name in (FILE_NAME, PACKED) for file in sorted(path.rglob(name)))
        files |= dict.fromkeys(inside if path.is_dir() else [path])
    runs = [Run(f, r) for f in files for r in (read_packed(f) if f.suffix == ".gz" else [read_record(f)])]
    if not runs:
        where = ", ".join(map(str, folders)) or "no path"
        raise UserError(f"no {FILE_NAME} under {where}: run `python -m hspace_exp +experiment=…` first")
    return runs


def chosen(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """At most ``count`` pairs, professions in turn, so that all of them are shown before one is shown twice."""
    queues: dict[str, list[Pair]] = {}
    for pair in pairs:
        queues.setdefault(pair.profession, []).append(pair)
    picked: list[Pair] = []
    for turn in range(max(map(len, queues.values()), default=0)):
        # Targets alternate along seeds and professions: shifted starts keep one target from being shown alone.
        picked += [queue[(turn + i) % len(queue)] for i, queue in enumerate(queues.values()) if turn < len(queue)]
    return picked[:count]
