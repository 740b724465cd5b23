"""``hspace-exp report``: one HTML page about a run or a folder of runs."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from hspace_exp.io.atomic import write_text
from hspace_exp.results.runs import Run, chosen, find_runs
from hspace_exp.results.tables.build import interval, make_table, number
from hspace_exp.results.tables.columns import column
from hspace_exp.results.tables.records import by_table

if TYPE_CHECKING:  # imports torch
    from hspace_exp.results.figures import Chart

HEADLINES = ("deviation_ratio", "success", "clip_alignment", "background_ssim", "scene_kept", "entanglement", "fid")
BUDGET = 8_000_000  # bytes of images as text; the page is promised to stay below 10 MB
PAIRS = 24  # of a run
SIDE, QUALITY = 256, 88  # of images
WIDE = 1600  # pixels of a picture of maps
SMALL = 150_000  # bytes up to which a chart is SVG


def write(paths: Sequence[Path], out: Path | None = None, title: str = "") -> None:
    """Write the report of all runs in and below paths, by default to ``report.html`` in the first."""
    first = paths[0] if paths[0].is_dir() else paths[0].parent
    out = out or first / "report.html"
    text = page(find_runs(paths), title or f"Report of {first}")
    write_text(out, text)
    print(f"{out} ({len(text.encode()) / 1e6:.1f} MB)")


def page(runs: Sequence[Run], title: str) -> str:
    """The report of runs."""
    from hspace_exp.results.figures import COLOURS, charts

    groups = []
    for heading, group in by_table(runs).items():
        groups.append(
            {
                "table": make_table(heading, group),
                "charts": [*map(_chart, charts(group).values())],
                "runs": [_run(run, BUDGET // len(runs)) for run in group],
            }
        )
    return rendered(
        "report.html.j2",
        title=title,
        groups=groups,
        colours=COLOURS,
        number=number,
        interval=interval,
        methods=list(dict.fromkeys(run.record.method for run in runs)),
        images=sum(len(run.pairs) for run in runs),
        runs=len(runs),
    )


def _run(run: Run, budget: int) -> dict[str, Any]:
    """What the template shows of one run; its pictures are of ``budget`` bytes at most."""
    from hspace_exp.concepts.algebra import concept_cosines
    from hspace_exp.concepts.concept import load_concept
    from hspace_exp.results.figures import losses

    record, details = run.record, run.record.details
    maps = list(_maps(run, budget // 2))  # few and telling, so pairs get what they leave
    pairs = list(_pairs(run, budget - sum(len(one.get("uri", "")) for one in maps)))
    curve = losses(run)
    cosines = concept_cosines([load_concept(file) for file in run.concepts()])
    asked = "Asked for (rows) against changed (columns): shares of images"
    matrices = [("Cosines between the concepts' vectors", "Concept", cosines)]
    matrices.append((asked, "Asked for", details.get("entanglement_matrix") or {}))
    return {
        "label": run.label,
        "edited": run.edited,
        "headlines": [(column(name, m), m) for name in HEADLINES if (m := record.metrics.get(name)) is not None],
        "professions": _professions(run),
        "images": len(run.pairs),
        "pairs": pairs,
        "maps": maps,
        "losses": None if curve is None else _chart(curve),
        "matrices": [_matrix(title, corner, rows) for title, corner, rows in matrices if rows],
        "confusion": details.get("confusion"),
        "metrics": [(name, column(name, m).decimals + 1, m) for name, m in record.metrics.items()],
        "config": json.dumps(record.config, indent=1, sort_keys=True, ensure_ascii=False),
        "folder": run.folder,
        "record": record,
    }


def _chart(chart: Chart) -> dict[str, str]:
    kind, data = "svg+xml", chart.encoded("svg")
    if len(data) > SMALL:
        kind, data = "png", chart.encoded("png")
    return {"uri": _data(kind, data), "words": chart.words}


def _professions(run: Run) -> dict[str, Any]:
    """Classes that each profession's images show, before and after; {} where no class was judged."""
    rows = run.record.per_profession
    values = list(dict.fromkeys(value for row in rows for value in row.get("counts", {})))
    if not values:
        return {}
    judged = [(pair.profession, run.judgement(pair)) for pair in run.pairs if run.edited]
    before = Counter((profession, found[0]) for profession, found in judged if found is not None)
    shown = []
    for row in rows:
        counts = {value: n for (profession, value), n in before.items() if profession == row["profession"]}
        shown.append(
            {
                "name": row["profession"],
                "stacks": [*([counts] if before else []), row.get("counts", {})],
                "truth": (row.get("truth") or {}).get(values[0]),
                "numbers": [_shown(row.get(name), 2) for name in ("deviation_ratio", "success")],
            }
        )
    return {"values": values, "before": bool(before), "rows": shown}


def _shown(value: float | None, digits: int) -> str:
    return "–" if value is None else number(value, digits)


def _matrix(title: str, corner: str, rows: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    body = [[label or "(nothing)", *(_shown(row.get(name), 3) for name in names)] for label, row in rows.items()]
    return {"title": title, "headings": [corner, *names], "rows": body}


def _maps(run: Run, budget: int) -> Iterator[dict[str, Any]]:
    """The run's pictures of attribute maps, one a group of concepts that was learnt apart."""
    for path in sorted(run.folder.glob("masks*.png")):
        group = path.stem.removeprefix("masks").removeprefix("_")
        picture = _image(path, "Attribute maps of training images" + (f": {group}" if group else ""), WIDE)
        if len(picture["uri"]) > budget:
            yield {"words": picture["words"], "missing": path.name}
            continue
        budget -= len(picture["uri"])
        yield picture


def _pairs(run: Run, budget: int) -> Iterator[dict[str, Any]]:
    """Pairs of images, as many as the budget of bytes allows."""
    for pair in chosen(run.pairs, PAIRS):
        name = f"{pair.profession}, seed {pair.seed_index}"
        shown: dict[str, Any] = {
            "name": name,
            "profession": pair.profession,
            "seed": pair.seed_index,
            "target": pair.target,
            "judged": run.judgement(pair),
            "before": _image(pair.original, f"{name}, before") if run.edited else None,
            "after": _image(pair.edited, f"{name}, {'after' if run.edited else 'unedited'}"),
        }
        budget -= len(shown["after"]["uri"]) + (len(shown["before"]["uri"]) if shown["before"] else 0)
        if budget < 0:
            return
        yield shown


def _image(path: Path, words: str, side: int = SIDE) -> dict[str, Any]:
    """A JPEG of an image file, at most ``side`` pixels wide and high."""
    from hspace_exp.io.images import read_image

    image, data = Image.fromarray(read_image(path)), io.BytesIO()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    image.save(data, format="JPEG", quality=QUALITY, optimize=True)
    return {"uri": _data("jpeg", data.getvalue()), "width": image.width, "height": image.height, "words": words}


def rendered(name: str, **values: Any) -> str:
    """A page of the template ``name``; ``values`` are escaped, and the filter ``code`` marks `code`."""
    folder = FileSystemLoader(Path(__file__).parent / "templates")
    blanks: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    pages = Environment(loader=folder, autoescape=True, undefined=StrictUndefined, **blanks)
    pages.filters["code"] = _code
    return pages.get_template(name).render(values).lstrip()


def _code(text: str) -> Markup:
    pieces = [escape(piece) for piece in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(pieces))


def _data(kind: str, data: bytes) -> str:
    """An image as an address."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
