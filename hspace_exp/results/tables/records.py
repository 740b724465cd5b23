"""Finding records and putting those together that differ in nothing but their seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hspace_exp.errors import UserError
from hspace_exp.io.digest import digest
from hspace_exp.results.record import FILE_NAME, RunRecord, read_record, same_result
from hspace_exp.results.tables.variants import labels, order, without_seed

Found = tuple[Path, RunRecord]
_LAST = "lwim"


def find_records(paths: Iterable[str | Path]) -> list[Found]:
    """All records in and below ``paths``, each file once.

    Raises:
        UserError: a path does not exist, no record is found, or one is not whole.
    """
    files: dict[Path, None] = {}
    folders = [Path(path) for path in paths]
    for path in folders:
        if not path.exists():
            raise UserError(f"no such file or folder: {path}")
        files |= dict.fromkeys(sorted(path.rglob(FILE_NAME)) if path.is_dir() else [path])
    if not files:
        where = ", ".join(map(str, folders)) or "no path"
        raise UserError(f"no {FILE_NAME} under {where}: run `python -m hspace_exp +experiment=…` first")
    return [(file, read_record(file)) for file in files]


def by_table(found: Iterable[Found]) -> dict[tuple[str, str, str], list[Found]]:
    """Records of one experiment, model and attribute belong in one table."""
    tables: dict[tuple[str, str, str], list[Found]] = {}
    for path, record in found:
        tables.setdefault((record.experiment, record.model, record.attribute), []).append((path, record))
    return dict(sorted(tables.items()))


def by_row(found: Sequence[Found]) -> dict[str, list[RunRecord]]:
    """Records that differ in their seed only belong in one row; label → records sorted by seed.

    The label is the method; where one method ran with several configurations, what was varied is added.

    Raises:
        UserError: two records of one configuration and seed disagree.
    """
    variants: dict[tuple[str, str], dict[int, Found]] = {}
    for path, record in found:
        seeds = variants.setdefault((record.method, digest(without_seed(record))), {})
        if record.seed in seeds and not same_result(seeds[record.seed][1], record):
            raise UserError(
                f"two runs of {record.method} with seed {record.seed} disagree: {seeds[record.seed][0]} and {path}; "
                "name one of them"
            )
        seeds.setdefault(record.seed, (path, record))
    rows: dict[str, list[RunRecord]] = {}
    methods = sorted({method for method, _ in variants}, key=lambda m: (m != "original", m == _LAST, m))
    for method in methods:
        mine = [[r for _, (_, r) in sorted(seeds.items())] for (m, _), seeds in variants.items() if m == method]
        first = [records[0] for records in mine]
        names = labels(first)
        rows |= {names[i]: mine[i] for i in order(first)}
    return rows
