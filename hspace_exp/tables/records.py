"""Finding records and putting those together that differ in nothing but their seed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hspace_exp.digest import digest, essential
from hspace_exp.errors import UserError
from hspace_exp.record import FILE_NAME, RunRecord, read_record, same_result

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

    The label is the method; where one method ran with several configurations, what differs is added.

    Raises:
        UserError: two records of one configuration and seed disagree.
    """
    variants: dict[tuple[str, str], dict[int, Found]] = {}
    for path, record in found:
        seeds = variants.setdefault((record.method, digest(_without_seed(record))), {})
        if record.seed in seeds and not same_result(seeds[record.seed][1], record):
            raise UserError(
                f"two runs of {record.method} with seed {record.seed} disagree: {seeds[record.seed][0]} and {path}; "
                "name one of them"
            )
        seeds.setdefault(record.seed, (path, record))
    rows: dict[str, list[RunRecord]] = {}
    methods = sorted({method for method, _ in variants}, key=lambda m: (m != "original", m == _LAST, m))
    for method in methods:
        mine = {code: [r for _, (_, r) in sorted(s.items())] for (m, code), s in variants.items() if m == method}
        rows |= dict(zip(_labels(method, mine), mine.values(), strict=True))
    return rows


def _labels(method: str, variants: Mapping[str, Sequence[RunRecord]]) -> Iterator[str]:
    if len(variants) == 1:
        yield method
        return
    flat = [dict(_flatten(_without_seed(records[0]))) for records in variants.values()]
    names = sorted({n for f in flat for n in f if len({g.get(n) for g in flat}) > 1}, key=lambda n: (_rank(n), n))
    for count in range(1, 4):
        shown = [tuple(f.get(name, "absent") for name in names[:count]) for f in flat]
        if len(set(shown)) == len(flat):
            for values in shown:
                yield f"{method} ({', '.join(f'{n}={v}' for n, v in zip(names, values, strict=False))})"
            return
    for code in variants:
        yield f"{method} (config {code[:6]})"


def _rank(name: str) -> int:
    return 0 if name.endswith(".name") else 1


def _without_seed(record: RunRecord) -> dict[str, Any]:
    config = essential(record.config)
    return {name: value for name, value in config.items() if name != "seed"} if isinstance(config, dict) else {}


def _flatten(value: object, where: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flatten(inner, f"{where}.{name}" if where else name)
    else:
        yield where, value if isinstance(value, str) else json.dumps(value)
