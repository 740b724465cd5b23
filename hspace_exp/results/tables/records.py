"""Finding records, and which of them make a table and share a row of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hspace_exp.errors import UserError
from hspace_exp.io.digest import canonical_json, digest
from hspace_exp.results.record import FILE_NAME, RunRecord, read_record, same_result
from hspace_exp.results.tables.variants import labels, order, without_seed

Found = tuple[Path, RunRecord]
_LAST = "lwim"
# What decides which images are judged: runs that differ in it do not compete.
_JUDGED = ("professions", "images_per_profession", "num_inference_steps", "image_seed", "assignment")


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


def by_table(found: Iterable[Found]) -> dict[str, list[Found]]:
    """Title → records of one experiment, model, attribute and protocol, which belong in one table.

    The same images are judged in all rows of a table. How much a concept learnt from may differ.
    """
    groups: dict[tuple[str, ...], list[Found]] = {}
    for path, record in found:
        protocol = record.config.get("protocol")
        judged = {name: protocol.get(name) for name in _JUDGED} if isinstance(protocol, Mapping) else protocol
        key = (record.experiment, record.model, record.attribute, canonical_json(judged))
        groups.setdefault(key, []).append((path, record))
    tables: dict[str, list[Found]] = {}
    for _, group in sorted(groups.items(), key=lambda item: item[0][:3]):
        tables[_title(group[0][1], tables)] = group
    return tables


def _title(record: RunRecord, taken: Iterable[str]) -> str:
    """What a table holds, in as many words as tell it from those ``taken``."""
    title = f"{record.experiment}: {record.attribute}, {record.model}"
    protocol = record.config.get("protocol")
    if isinstance(protocol, Mapping) and {"professions", "images_per_profession"} <= set(protocol):
        title += f", {len(protocol['professions'])} professions × {protocol['images_per_profession']} images"
    if title in taken and isinstance(protocol, Mapping):
        shown = {name: protocol[name] for name in _JUDGED[2:] if name in protocol}
        words = {name: name.replace("num_inference", "denoising").replace("_", " ") for name in shown}
        title += "".join(f", {words[name]} {value}" for name, value in shown.items())
    same = sum(other.split(" #")[0] == title for other in taken)
    return f"{title} #{same + 1}" if same else title


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
