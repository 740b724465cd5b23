"""Which records make a table and share a row, and what was varied between rows, in a row's words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from hspace_exp.errors import UserError
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.io.digest import canonical_json, digest, essential
from hspace_exp.results.record import RunRecord, differences, leaves
from hspace_exp.results.runs import Run

# What decides which images are judged: runs that differ in it do not compete.
_JUDGED = ("professions", "images_per_profession", "image_seed", "assignment")
# The field's own names, in the order in which they are looked at first.
WORDS: dict[str, str] = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text("utf-8"))
ABSENT = "absent"
_WEIGHT = "frequency.weight"


def by_table(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Title → runs of one experiment, model, attribute and protocol, which belong in one table.

    The same images are judged in all rows of a table. How much a concept learnt from may differ.
    """
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        record, protocol = run.record, run.record.config.get("protocol")
        judged = {name: protocol.get(name) for name in _JUDGED} if isinstance(protocol, Mapping) else protocol
        key = (record.experiment, record.model, record.attribute, canonical_json(judged))
        groups.setdefault(key, []).append(run)
    tables: dict[str, list[Run]] = {}
    for _, group in sorted(groups.items(), key=lambda item: item[0][:3]):
        tables[_title(group[0].record, tables)] = group
    return tables


def _title(record: RunRecord, taken: Iterable[str]) -> str:
    """What a table holds, in as many words as tell it from those ``taken``."""
    title = f"{record.experiment}: {record.attribute}, {record.model}"
    protocol = record.config.get("protocol")
    if isinstance(protocol, Mapping) and {"professions", "images_per_profession"} <= set(protocol):
        which = f"{len(protocol['professions'])} {group_of(record)}".strip()
        title += f", {which} professions × {protocol['images_per_profession']} images"
    if title in taken and isinstance(protocol, Mapping):
        shown = {name: protocol[name] for name in _JUDGED[2:] if name in protocol}
        title += "".join(f", {name.replace('_', ' ')} {value}" for name, value in shown.items())
    same = sum(other.split(" #")[0] == title for other in taken)
    return f"{title} #{same + 1}" if same else title


def group_of(record: RunRecord) -> str:
    """The name of the group of professions that is measured, of ``prompts.groups``; "" where it is none of them."""
    protocol, prompts = (record.config.get(node, {}) for node in ("protocol", "prompts"))
    return next((name for name, some in prompts.get("groups", {}).items() if some == protocol.get("professions")), "")


def by_row(runs: Sequence[Run]) -> dict[str, list[RunRecord]]:
    """Records that differ in their seed only belong in one row; label → records sorted by seed.

    The label is the method; where one method ran with several configurations, what was varied is added. Raises
    UserError: two records of one configuration and seed disagree.
    """
    variants: dict[tuple[str, str], dict[int, Run]] = {}
    for run in runs:
        record = run.record
        seeds = variants.setdefault((record.method, digest(without_seed(record))), {})
        other = seeds.setdefault(record.seed, run)
        if other is not run and differences(other.record, record):
            both = f"{other.path} and {run.path}"
            raise UserError(f"runs of {record.method} with seed {record.seed} disagree: {both}; name one of them")
    rows: dict[str, list[RunRecord]] = {}
    methods = sorted({method for method, _ in variants}, key=lambda m: (m != "original", m == "lwim", m))
    for method in methods:
        mine = [[run.record for _, run in sorted(seeds.items())] for (m, _), seeds in variants.items() if m == method]
        first = [records[0] for records in mine]
        names = labels(first)
        rows |= {names[i]: mine[i] for i in order(first)}
    return rows


def varied(records: Sequence[RunRecord]) -> dict[str, list[str]]:
    """What tells records apart: words → one value a record, ``ABSENT`` where a configuration lacks it.

    All keys of ``WORDS`` that differ, and, where those do not tell all records apart, few dotted keys of the
    configurations beside them; empty where even all keys together do not. Seeds are left aside, and so is the rest of a
    low-frequency term whose weight is 0.
    """
    flat = [_settings(record) for record in records]
    names = sorted({name for one in flat for name in one}, key=_rank)
    columns = {name: [one.get(name, ABSENT) for one in flat] for name in names}
    columns = {name: values for name, values in columns.items() if len(set(values)) > 1}

    def told_apart(by: Sequence[str]) -> int:
        return len(set(zip(*(columns[name] for name in by), strict=True))) if by else 1

    chosen = [name for name in columns if name in WORDS]
    while told_apart(chosen) < len(flat):
        best = max(columns, key=lambda name: told_apart([*chosen, name]), default="")
        if not best or told_apart([*chosen, best]) == told_apart(chosen):
            return {}
        chosen.append(best)
    return {_words(name, chosen): columns[name] for name in chosen}


def labels(records: Sequence[RunRecord]) -> list[str]:
    """A label for each record of one method: the method, and what was varied.

    Values that more than half have go without saying, and so does what is absent, as far as labels still differ.
    """
    method = records[0].method
    if len(records) == 1:
        return [method]
    found = varied(records)
    if not found:
        return [f"{method} (config {digest(without_seed(record))[:6]})" for record in records]

    def label(i: int, unsaid: int) -> str:
        told = {words: v[i] for words, v in found.items() if v[i] not in (_usual(v), ABSENT)[:unsaid]}
        return ", ".join([method, *(f"{words} {_shown(value)}" for words, value in told.items())])

    texts = [[label(i, unsaid) for i in range(len(records))] for unsaid in (2, 1, 0)]
    return next((some for some in texts if len(set(some)) == len(some)), texts[-1])


def order(records: Sequence[RunRecord]) -> list[int]:
    """Indices of the records of one method by what was varied: the usual value first, then numbers, then names."""
    found = varied(records)

    def place(i: int) -> list[tuple[bool, bool, float, str]]:
        keys = []
        for values in found.values():
            number = _number(values[i])
            keys.append((values[i] != _usual(values), number is None, number or 0.0, values[i]))
        return keys

    return sorted(range(len(records)), key=place)


def by_strength(
    rows: Mapping[str, Sequence[RunRecord]], merged: Mapping[str, Mapping[str, MetricValue]], metric: str
) -> dict[str, dict[float, MetricValue]]:
    """Method → strength → value over all seeds, for rows that differ in nothing but their strength.

    Where strengths were found by calibration it is their factor.
    A method with several settings beside its strength has one entry a setting, numbered from the second on.
    """
    settings: dict[tuple[str, str], dict[float, MetricValue]] = {}
    for label, records in rows.items():
        strength, found = records[0].strength, merged[label].get(metric)
        strength = records[0].factor if strength is None else strength
        if strength is None or found is None or found.value is None:
            continue
        config = without_seed(records[0])
        rest = {name: value for name, value in config["method"].items() if name not in ("strength", "factor")}
        settings.setdefault((records[0].method, digest({**config, "method": rest})), {})[strength] = found
    lines: dict[str, dict[float, MetricValue]] = {}
    for (method, _), points in settings.items():
        same = sum(name.split(" #")[0] == method for name in lines)
        lines[f"{method} #{same + 1}" if same else method] = dict(sorted(points.items()))
    return lines


def without_seed(record: RunRecord) -> dict[str, Any]:
    """What decides a run's numbers, but for its seed."""
    config = essential(record.config)
    return {name: value for name, value in config.items() if name != "seed"} if isinstance(config, dict) else {}


def _settings(record: RunRecord) -> dict[str, str]:
    every = leaves(without_seed(record), lists=False)
    flat = {name: value if isinstance(value, str) else json.dumps(value) for name, value in every}
    if _number(flat.get(_WEIGHT, "")) == 0:
        return {name: value for name, value in flat.items() if name == _WEIGHT or not name.startswith("frequency.")}
    return flat


def _usual(values: Sequence[str]) -> str | None:
    value, count = Counter(values).most_common(1)[0]
    return value if 2 * count > len(values) else None


def _rank(name: str) -> tuple[int, bool, bool, str]:
    known = list(WORDS).index(name) if name in WORDS else len(WORDS)
    return known, name.endswith("._source_"), not name.endswith(".name"), name


def _words(name: str, among: Sequence[str]) -> str:
    if name in WORDS:
        return WORDS[name]
    parts = name.split(".")
    if name.startswith("method.strength."):
        return f"strength of {parts[-1]}"
    if len(parts) > 1 and parts[-1] in ("name", "_target_"):
        return parts[-2].replace("_", " ")
    last = [other.split(".")[-1] for other in among]
    return name if last.count(parts[-1]) > 1 else parts[-1].replace("_", " ")


def _shown(value: str) -> str:
    number = _number(value)
    if number is None:
        return value.rpartition(".")[2] if value.startswith("hspace_exp.") else value
    return f"{number:g}"


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None
