"""The lines below a table: what its numbers are, of how many images, and how to get them again."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence

from hspace_exp.evaluation.value import MetricValue
from hspace_exp.results.record import RunRecord
from hspace_exp.results.tables.columns import Column

SEEDS_FOR_T = 3
FIXED = ("original", "prompt")  # whose strength means nothing
MOST_STRENGTHS = 16  # rows whose strengths are told
MOST_NOTES = 8  # rows whose own notes are told one by one
_ELSEWHERE = ("paths.", "logger=", "hydra.", "trainer.devices=", "device=")  # decides no number
_AMOUNTS = (
    "professions", "images_per_profession", "training_images", "training_steps", "num_inference_steps", "image_seed",
)  # fmt: skip


def footers(
    rows: Mapping[str, Sequence[RunRecord]], merged: Mapping[str, Mapping[str, MetricValue]], columns: Sequence[Column]
) -> list[str]:
    """Lines below a table; ``rows`` are label → records of its seeds, ``merged`` label → metrics over all seeds."""
    records = [record for group in rows.values() for record in group]
    lines = ["↑ more is better, ↓ less is better; the best method of a column is bold."]
    own = [c.heading for c in columns if c.beside_original]
    if own and len(rows) > 1 and any(r.method == "original" for r in records):
        lines.append(f"original is compared with itself in {', '.join(own)}, and takes no part there.")
    lines += [_interval_text(max(map(len, rows.values()))), _n_text(merged, columns)]
    protocols = {label: _protocol_text(group[:1]) for label, group in rows.items()}
    if all(protocols.values()):
        together = _protocol_text([group[0] for group in rows.values()])  # rows say themselves which is theirs
        lines.append(f"Protocol: {_per_row(protocols) if len(rows) <= MOST_NOTES else together}.")
    lines += _strength_lines(rows)
    notes: dict[str, list[str]] = {}
    for c in columns:
        for text in _note_text(c, merged):
            notes.setdefault(text, []).append(c.heading)
    lines += [f"{', '.join(headings)}: {text}." for text, headings in notes.items()]
    lines += [f"Command: `{line}`" for line in joined([r.command for r in records if r.command])]
    seeds = {label: ", ".join(str(r.seed) for r in group) for label, group in rows.items()}
    lines.append(f"Seeds: {_per_row(seeds)}.")
    devices = {label: " / ".join(dict.fromkeys(r.device for r in group)) for label, group in rows.items()}
    commits = {label: " / ".join(dict.fromkeys(r.commit(12) for r in group)) for label, group in rows.items()}
    lines += [f"Device: {_per_row(devices)}.", f"Commit: {_per_row(commits)}."]
    return lines


def _strength_lines(rows: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    """Where strengths come from: a calibration, with what it found in each seed, or from whoever started the run."""
    found: dict[str, list[str]] = {}
    given, guidance, success = list[str](), set[float](), set[float]()
    for label, records in rows.items():
        told = [record.details.get("calibration") for record in records]
        if not all(told):
            given += [label] if records[0].strength is not None and records[0].method not in FIXED else []
            continue
        some = [one for one in told if one]
        guidance |= {one["guidance_scale"] for one in some}
        success |= {one["settings"]["success"] for one in some}
        words = []
        for name in some[0]["concepts"]:
            points = [one["concepts"][name] for one in some]
            numbers = ", ".join(f"{p['strength']:g}{'' if p['reached'] else '*'}" for p in points)
            words.append(f"{name} {numbers}")
        found.setdefault(" and ".join(words), []).append(label)
    lines = []
    if found:
        told_rows = "; ".join(f"{' | '.join(labels)}: {text}" for text, labels in list(found.items())[:MOST_STRENGTHS])
        more = "; …" if len(found) > MOST_STRENGTHS else ""
        at = f"success {_numbers(success)} on validation images, guidance {_numbers(guidance)}"
        lines += [f"Strengths are the least that reach {at} (* never reached, the best is taken). {told_rows}{more}."]
    if given:
        lines.append(f"Strengths were given, not found by calibration: {', '.join(given)}.")
    return lines


def _numbers(some: set[float]) -> str:
    *others, last = [f"{number:g}" for number in sorted(some)]
    return f"{', '.join(others)} or {last}" if others else last


def joined(commands: Sequence[str]) -> list[str]:
    """The fewest commands, ``python -m hspace_exp key=value …``, that make the same runs as these of one run each.

    Commands that differ in the value of one key become one with ``-m`` and a list of values, again and again. Keys
    that decide no number, such as folders, are left out.
    """
    lines: list[str] = []
    start = ["python", "-m", "hspace_exp"]
    grids: dict[tuple[str, ...], list[list[tuple[str, ...]]]] = {}
    for command in dict.fromkeys(commands):
        words = shlex.split(command)
        if words[:3] != start or not all("=" in word for word in words[3:]):  # no run of the main command
            lines.append(command)
            continue
        pairs = [word.partition("=") for word in words[3:] if not word.startswith(_ELSEWHERE)]
        own = grids.setdefault(tuple(key for key, _, _ in pairs), [])
        own.append([(value,) for _, _, value in pairs])
    for keys, grid in grids.items():
        for i in reversed(range(len(keys))):
            alike: dict[tuple[tuple[str, ...], ...], dict[str, None]] = {}  # the rest → values of key i, each once
            for one in grid:
                alike.setdefault((*one[:i], *one[i + 1 :]), {}).update(dict.fromkeys(one[i]))
            grid = [[*rest[:i], tuple(values), *rest[i:]] for rest, values in alike.items()]
        for one in grid:
            several = ["-m"] if any(len(values) > 1 for values in one) else []
            overrides = [f"{key}={','.join(values)}" for key, values in zip(keys, one, strict=True)]
            lines.append(shlex.join([*start, *several, *overrides]))
    return lines


def _interval_text(seeds: int) -> str:
    if seeds == 1:
        return "Brackets: 95 % bootstrap interval over images."
    text = "Numbers are means over seeds. Brackets: mean of the seeds' 95 % bootstrap intervals over images"
    if seeds < SEEDS_FOR_T:
        return f"{text}."
    return f"{text}, widened to the 95 % t interval over seeds (from {SEEDS_FOR_T} on) where that reaches further."


def _n_text(merged: Mapping[str, Mapping[str, MetricValue]], columns: Sequence[Column]) -> str:
    counts = {c.heading: {label: v[c.metric].n for label, v in merged.items() if c.metric in v} for c in columns}
    each = {label: Counter(ns[label] for ns in counts.values() if label in ns) for label in merged}
    usual = {label: ns.most_common(1)[0][0] for label, ns in each.items() if ns}
    text = f"N = {_per_row({label: str(n) for label, n in usual.items()})} images a method and seed"
    for heading, ns in counts.items():
        odd = {label: str(n) for label, n in ns.items() if n != usual[label]}
        if len(odd) > MOST_NOTES:
            text += f"; {heading}: {_numbers({float(n) for n in odd.values()})}"
        elif odd:
            text += f"; {heading}: {_per_row(odd) if len(odd) == len(ns) else _listed(odd)}"
    return text + "."


def _protocol_text(records: Sequence[RunRecord]) -> str:
    """How much of everything, all values that there are, or "" where a record does not say."""
    protocols = [record.config.get("protocol") for record in records]
    found = [one for one in protocols if isinstance(one, Mapping) and all(name in one for name in _AMOUNTS)]
    if len(found) < len(protocols):
        return ""
    of = {name: _numbers({float(one[name]) for one in found}) for name in _AMOUNTS[1:]}
    meant = {one.get("rates_for_steps") or one["training_steps"] for one in found}
    faster = "" if meant == {one["training_steps"] for one in found} else f" at rates for {_numbers(meant)}"
    return (
        f"{_numbers({float(len(one['professions'])) for one in found})} professions × {of['images_per_profession']} "
        f"images, a concept learns from {of['training_images']} images in {of['training_steps']} steps{faster}, "
        f"{of['num_inference_steps']} denoising steps, image seed {of['image_seed']}"
    )


def _note_text(column: Column, merged: Mapping[str, Mapping[str, MetricValue]]) -> list[str]:
    """What must be known of a column's numbers, once where it holds for all rows; [] where there is nothing."""
    found = {label: values[column.metric] for label, values in merged.items() if column.metric in values}
    kept = {label: m.note for label, m in found.items() if m.note and not _says_nothing(m, column)}
    if len(kept) == len(found) and len(set(kept.values())) == 1:
        return list(kept.values())[:1]
    if not kept or len(kept) > MOST_NOTES:
        return []
    return [", ".join(f"{label} ({note})" for label, note in kept.items())]


def _says_nothing(metric: MetricValue, column: Column) -> bool:
    """Whether a note only repeats what the cell shows: that it is infinite, or who is worst where all are perfect."""
    if metric.note.startswith("worst") and metric.value is not None:
        return metric.value == column.bounds[bool(metric.higher_is_better)]
    return metric.note.startswith("infinite")


def _per_row(texts: Mapping[str, str]) -> str:
    """One text where all rows agree, else each row's own; of many rows that of most of them, and then the others'."""
    usual, count = Counter(texts.values()).most_common(1)[0] if texts else ("", 0)
    odd = {label: text for label, text in texts.items() if text != usual}
    if not odd:
        return usual
    return f"{usual}, but {_listed(odd)}" if len(odd) <= MOST_NOTES < count else _listed(texts)


def _listed(texts: Mapping[str, str]) -> str:
    return "; ".join(f"{label} {text}" for label, text in texts.items())
