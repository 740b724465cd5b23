"""What was found out about each image: ``judged.csv`` beside a record, from which methods are compared pair by pair."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hspace_exp.generation.manifest import Pair
from hspace_exp.io.rows import read_rows, write_rows
from hspace_exp.io.seeding import seed_of

if TYPE_CHECKING:
    from hspace_exp.evaluation.judged import JudgedBatch
    from hspace_exp.evaluation.judges import Judge
    from hspace_exp.evaluation.metrics.base import ImageMetric

FILE_NAME = "judged.csv"
IDENTITY = ("profession", "prompt", "seed_index", "target")
UNCLEAR = "unclear"

Row = dict[str, Any]


def judged_rows(batch: Sequence[Pair], judged: Mapping[str, JudgedBatch], judges: Sequence[Judge]) -> list[Row]:
    """One row a pair: what it is, and what each judge saw, e.g. ``clip.gender.after``."""
    rows: list[Row] = [{name: getattr(pair, name) for name in IDENTITY} for pair in batch]
    for judge in judges:
        for attribute, values in judge.attributes.items():
            for moment in ("before", "after"):
                found = getattr(judged[judge.name], moment)[attribute].tolist()
                for row, index in zip(rows, found, strict=True):
                    row[f"{judge.name}.{attribute}.{moment}"] = values[index] if index >= 0 else UNCLEAR
    return rows


def with_numbers(rows: Sequence[Row], pairs: Sequence[Pair], metrics: Mapping[str, ImageMetric]) -> list[Row]:
    """The rows with each metric's number of each image ("" where it has none), in the order of ``IDENTITY``."""
    found = {name: some for name, metric in metrics.items() if (some := metric.by_image()) is not None}
    keys = [seed_of(pair.name) for pair in pairs]
    full = [
        row | {name: round(numbers[key], 6) if key in numbers else "" for name, numbers in found.items()}
        for row, key in zip(rows, keys, strict=True)
    ]
    return sorted(full, key=lambda row: tuple(row[name] for name in IDENTITY))


def write_judged(folder: str | Path, rows: Sequence[Row]) -> Path:
    """Write ``judged.csv`` into ``folder``."""
    return write_rows(Path(folder) / FILE_NAME, list(rows[0]), [list(row.values()) for row in rows])


def read_judged(path: str | Path) -> list[dict[str, str]]:
    """Read a ``judged.csv``, or the one in a run's folder; all values are text.

    Raises UserError: there is none, or it is something else.
    """
    path = Path(path)
    return read_rows(path / FILE_NAME if path.is_dir() else path, IDENTITY, "evaluate the run again")


def entanglement_matrix(
    rows: Sequence[Mapping[str, Any]], judge: str, without: Collection[str] = ()
) -> dict[str, dict[str, float]]:
    """What was asked for against what changed in a judge's eyes, of rows of `judged_rows`, ``without`` some attributes.

    Target → attribute → share of the images asked for it whose attribute changed, of those clear before and after;
    attributes that were never clear are left out. Images that nothing was asked of make the row "".
    """
    seen = [name.split(".")[1] for name in rows[0] if name.startswith(f"{judge}.") and name.endswith(".after")]
    attributes = [name for name in seen if name not in without]
    matrix: dict[str, dict[str, float]] = {}
    for target in sorted({str(row["target"]) for row in rows}):
        matrix[target], mine = {}, [row for row in rows if row["target"] == target]
        for name in attributes:
            pairs = [(row[f"{judge}.{name}.before"], row[f"{judge}.{name}.after"]) for row in mine]
            clear = [before != after for before, after in pairs if UNCLEAR not in (before, after)]
            if clear:
                matrix[target][name] = round(sum(clear) / len(clear), 6)
    return matrix
