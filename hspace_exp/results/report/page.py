"""A whole report as one HTML text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from hspace_exp.evaluation.concept_geometry import concept_cosines
from hspace_exp.generation.manifest import Pair
from hspace_exp.results.report import numbers
from hspace_exp.results.report.collect import Run, chosen
from hspace_exp.results.report.curves import strength_curves
from hspace_exp.results.report.pictures import SIDE, WIDE, data_uri
from hspace_exp.results.report.style import CSS, SCRIPT
from hspace_exp.results.tables.build import make_table
from hspace_exp.results.tables.records import Found, by_table

# Of images as text; the page is promised to stay below 10 MB.
BUDGET = 8_000_000
PAIRS = 24


def page(runs: Sequence[Run], found: Sequence[Found], title: str) -> str:
    """The report of runs.

    Args:
        runs: from `collect`.
        found: their records, as tables take them.
        title: of the page.
    """
    parts, links = [_opening(runs, title)], []
    budget = BUDGET // max(len(runs), 1)
    for i, (name, group) in enumerate(by_table(found).items()):
        records = {id(record) for _, record in group}
        mine = [run for run in runs if id(run.record) in records]
        links.append(f'<li><a href="#group{i}">{escape(name)}</a></li>')
        parts.append(f'<section id="group{i}"><h2>{escape(name)}</h2>{numbers.comparison(make_table(name, group))}')
        curves = strength_curves(mine)
        parts.append(f"<h3>Strength</h3>{curves}" if curves else "")
        parts += [_run(run, budget) for run in mine]
        parts.append("</section>")
    nav = f'<nav aria-label="Contents"><ul>{"".join(links)}</ul></nav>' if len(links) > 1 else ""
    body = "\n".join([parts[0], nav, *parts[1:]])
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{CSS}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _opening(runs: Sequence[Run], title: str) -> str:
    methods = ", ".join(dict.fromkeys(run.record.method for run in runs))
    images = sum(len(run.pairs) for run in runs)
    count = "one run" if len(runs) == 1 else f"{len(runs)} runs"
    text = (
        f"<h1>{escape(title)}</h1><p>{count} ({escape(methods)}) with {images} evaluated images. Attributes such as "
        "gender, age and skin tone are what an image <em>presents</em> in the eyes of a judge, never facts about "
        "people.</p>"
    )
    return text + (numbers.headlines(runs[0]) if len(runs) == 1 else "")


def _run(run: Run, budget: int) -> str:
    details = run.record.details
    parts = [f"<h3>{escape(run.label)}</h3>", numbers.headlines(run), numbers.professions(run)]
    maps, taken = _maps(run, budget // 2)  # few and telling, so pairs get what they leave
    parts += [_pairs(run, budget - taken), maps]
    concepts = sorted((run.folder / "concepts").glob("*.safetensors"))
    if len(concepts) > 1:
        parts.append(numbers.matrix("Cosines between the concepts' vectors", concept_cosines(concepts), "Concept"))
    if details.get("entanglement_matrix"):
        title = "Asked for (rows) against changed (columns): shares of images"
        parts.append(numbers.matrix(title, details["entanglement_matrix"], "Asked for"))
    if details.get("confusion"):
        parts.append(numbers.confusion(details["confusion"]))
    parts.append(_folded("All numbers", numbers.everything(run)))
    parts.append(_folded("Configuration", f"<pre>{escape(_plain(run.record.config))}</pre>"))
    parts.append(_folded("Where it comes from", _provenance(run)))
    return f"<article>{''.join(parts)}</article>"


def _maps(run: Run, budget: int) -> tuple[str, int]:
    """The run's pictures of attribute maps, one a group of concepts that was learnt apart, and their bytes."""
    parts, taken = [], 0
    for path in (run.folder / "masks.png", *sorted(run.folder.glob("masks_*.png"))):
        if path.exists():
            group = path.stem.removeprefix("masks").removeprefix("_")
            words = "Attribute maps of training images" + (f": {group}" if group else "")
            parts.append(_picture(path, words, budget - taken))
            taken += len(parts[-1])
    return "".join(parts), taken


def _pairs(run: Run, budget: int) -> str:
    """Figures of pairs, as many as the budget of bytes allows."""
    figures: list[str] = []
    for pair in chosen(run.pairs, PAIRS):
        figure = _pair(run, pair)
        if len(figure) > budget:
            break
        budget -= len(figure)
        figures.append(figure)
    if not figures:
        return '<p class="warn">No image of this run is at hand.</p>'
    shown = f"{len(figures)} of {len(run.pairs)} images"
    hint = "; left of the slider is before, right of it after" if run.edited else ""
    return f'<p class="soft">{shown}{hint}.</p><div class="pairs">{"".join(figures)}</div>'


def _pair(run: Run, pair: Pair) -> str:
    asked = f"asked for {pair.target}" if pair.target else "nothing asked for"
    seen = run.seen(pair)
    saw = "" if seen is None else f"; judged {seen[0]} before, {seen[1]} after" if run.edited else f"; judged {seen[1]}"
    name = f"{pair.profession}, seed {pair.seed_index}"
    after = _image(pair.edited, f"{name}, {'after' if run.edited else 'unedited'}", "after" if run.edited else "")
    caption = (
        f"<figcaption><b>{escape(pair.profession)}</b>, seed {pair.seed_index}: {escape(asked + saw)}</figcaption>"
    )
    if not run.edited:
        return f'<figure class="pair"><div>{after}</div>{caption}</figure>'
    before = _image(pair.original, f"{name}, before", "before")
    slider = f'<input type="range" min="0" max="100" value="50" aria-label="{escape(name)}: before to after">'
    return f'<figure class="pair movable"><div class="images">{before}{after}</div>{slider}{caption}</figure>'


def _image(path: Path, words: str, kind: str, side: int = SIDE) -> str:
    address, width, height = data_uri(path, side)
    shown = f' class="{kind}"' if kind else ""
    return f'<img{shown} src="{address}" width="{width}" height="{height}" alt="{escape(words)}" loading="lazy">'


def _picture(path: Path, words: str, budget: int) -> str:
    image = _image(path, words, "wide", WIDE)
    if len(image) > budget:
        return f'<p class="warn">{escape(words)}: {escape(path.name)} does not fit into this page.</p>'
    return f"<figure>{image}<figcaption>{escape(words)}</figcaption></figure>"


def _provenance(run: Run) -> str:
    record = run.record
    git = record.git or {}
    commit = f"{git.get('commit', 'unknown')}{' with local changes' if git.get('dirty') else ''}"
    facts = {"Folder": str(run.folder), "Command": record.command, "Configuration digest": record.config_digest}
    facts |= {"Commit": commit, "Device": record.device}
    facts |= {f"Seconds of {stage}": f"{seconds:g}" for stage, seconds in record.seconds.items()}
    facts |= {f"Version of {name}": version for name, version in record.versions.items()}
    rows = [f'<tr><th scope="row">{escape(n)}</th><td><code>{escape(v)}</code></td></tr>' for n, v in facts.items()]
    return numbers.html_table("Provenance", ["What", "Value"], rows)


def _folded(title: str, inner: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{inner}</details>"


def _plain(config: object) -> str:
    return json.dumps(config, indent=1, sort_keys=True, ensure_ascii=False)
