"""The lines below a table: what its numbers are, of how many images, and how to get them again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from hspace_exp.evaluation.value import MetricValue
from hspace_exp.results.record import RunRecord
from hspace_exp.results.tables.columns import Column
from hspace_exp.results.tables.commands import joined
from hspace_exp.results.tables.strengths import linearity_lines

SEEDS_FOR_T = 3
_AMOUNTS = (
    "professions", "images_per_profession", "training_images", "training_steps", "num_inference_steps", "image_seed",
)  # fmt: skip


def footers(
    rows: Mapping[str, Sequence[RunRecord]],
    merged: Mapping[str, Mapping[str, MetricValue]],
    columns: Sequence[Column],
) -> list[str]:
    """Lines below a table.

    Args:
        rows: label → the records of its seeds.
        merged: label → metrics over all seeds.
        columns: what is shown.
    """
    records = [record for group in rows.values() for record in group]
    lines = ["↑ more is better, ↓ less is better; the best method of a column is bold."]
    if any(r.method == "original" for r in records) and len(rows) > 1:
        own = [c.heading for c in columns if c.beside_original]
        if own:
            lines.append(f"original is compared with itself in {', '.join(own)}, and takes no part there.")
    lines.append(_interval_text(rows))
    lines.append(_n_text(merged, columns))
    protocols = {label: _protocol_text(group[0]) for label, group in rows.items()}
    if all(protocols.values()):
        lines.append(f"Protocol: {_per_row(protocols)}.")
    notes: dict[str, list[str]] = {}
    for c in columns:
        for text in _note_text(c, merged):
            notes.setdefault(text, []).append(c.heading)
    lines += [f"{', '.join(headings)}: {text}." for text, headings in notes.items()]
    lines += linearity_lines(rows, merged)
    commands = joined([r.command for r in records if r.command]) or [command_of(records)]
    lines += [f"Command: `{line}`" for line in commands]
    seeds = {label: ", ".join(str(r.seed) for r in group) for label, group in rows.items()}
    lines.append(f"Seeds: {_per_row(seeds)}.")
    lines.append(f"Device: {_per_row({label: _devices(group) for label, group in rows.items()})}.")
    lines.append(f"Commit: {_per_row({label: _commits(group) for label, group in rows.items()})}.")
    return lines


def command_of(records: Sequence[RunRecord]) -> str:
    """The command that makes these records, from what they say about themselves."""
    first = records[0]
    methods, seeds = dict.fromkeys(r.method for r in records), sorted({r.seed for r in records})
    protocol = first.config.get("protocol")
    name = protocol.get("name") if isinstance(protocol, Mapping) else protocol
    parts = [f"+experiment={first.experiment}", f"model={first.model}", f"attribute={first.attribute}"]
    parts += [f"protocol={name}"] if isinstance(name, str) else []
    parts += [f"method={','.join(methods)}", f"seed={','.join(map(str, seeds))}"]
    several = "-m " if len(methods) * len(seeds) > 1 else ""
    return f"python -m hspace_exp {several}{' '.join(parts)}"


def _interval_text(rows: Mapping[str, Sequence[RunRecord]]) -> str:
    counts = {len(group) for group in rows.values()}
    if max(counts) == 1:
        return "Brackets: 95 % bootstrap interval over images."
    text = "Numbers are means over seeds. Brackets: mean of the seeds' 95 % bootstrap intervals over images"
    if max(counts) < SEEDS_FOR_T:
        return f"{text}."
    return f"{text}, widened to the 95 % t interval over seeds (from {SEEDS_FOR_T} on) where that reaches further."


def _n_text(merged: Mapping[str, Mapping[str, MetricValue]], columns: Sequence[Column]) -> str:
    counts = {c.heading: {label: v[c.metric].n for label, v in merged.items() if c.metric in v} for c in columns}
    usual = {
        label: Counter(ns[label] for ns in counts.values() if label in ns).most_common(1)[0][0]
        for label in merged
        if any(label in ns for ns in counts.values())
    }
    text = f"N = {_per_row({label: str(n) for label, n in usual.items()})} images a method and seed"
    for heading, ns in counts.items():
        odd = {label: str(n) for label, n in ns.items() if n != usual[label]}
        if odd:
            text += f"; {heading}: {_per_row(odd) if len(odd) == len(ns) else _listed(odd)}"
    return text + "."


def _protocol_text(record: RunRecord) -> str:
    """How much of everything, or "" where a record does not say."""
    protocol = record.config.get("protocol")
    if not isinstance(protocol, Mapping) or any(name not in protocol for name in _AMOUNTS):
        return ""
    return (
        f"{len(protocol['professions'])} professions × {protocol['images_per_profession']} images, a concept learns "
        f"from {protocol['training_images']} images in {protocol['training_steps']} steps, "
        f"{protocol['num_inference_steps']} denoising steps, image seed {protocol['image_seed']}"
    )


def _note_text(column: Column, merged: Mapping[str, Mapping[str, MetricValue]]) -> list[str]:
    notes = {label: v[column.metric].note for label, v in merged.items() if column.metric in v}
    kept = {label: note for label, note in notes.items() if note and not note.startswith("infinite")}
    if not kept:
        return []
    if len(kept) == len(notes) and len(set(kept.values())) == 1:
        return list(kept.values())[:1]
    return [", ".join(f"{label} ({note})" for label, note in kept.items())]


def _devices(records: Sequence[RunRecord]) -> str:
    return " / ".join(dict.fromkeys(r.device for r in records))


def _commits(records: Sequence[RunRecord]) -> str:
    names = []
    for record in records:
        git = record.git or {}
        name = str(git.get("commit") or "unknown")[:12]
        names.append(f"{name} with local changes" if git.get("dirty") else name)
    return " / ".join(dict.fromkeys(names))


def _per_row(texts: Mapping[str, str]) -> str:
    """One text where all rows agree, else each row's own."""
    return next(iter(texts.values())) if len(set(texts.values())) == 1 else _listed(texts)


def _listed(texts: Mapping[str, str]) -> str:
    return "; ".join(f"{label} {text}" for label, text in texts.items())
