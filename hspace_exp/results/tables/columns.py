"""How each metric is shown: heading, digits, block, and whether methods compete in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import yaml

from hspace_exp.errors import unknown
from hspace_exp.evaluation.value import MetricValue

WIDEST = 5


@dataclass(frozen=True)
class Column:
    """One metric's column."""

    metric: str  # name in records
    heading: str  # text above the column, without the arrow
    decimals: int = 3  # digits after the point
    beside_original: bool = False  # whether the unedited model is perfect by definition, as it is compared with itself
    contest: bool = True  # whether the best method is marked
    bounds: Sequence[float] = (0.0, 1.0)  # least and greatest possible value


_READ = yaml.safe_load(Path(__file__).with_name("columns.yaml").read_text("utf-8"))
# Shown by default only where it differs: the prompt without the attribute's words is often the prompt.
REPEATED: dict[str, str] = _READ.pop("repeated")
BLOCKS = {title: tuple(Column(**column) for column in columns) for title, columns in _READ.items()}
COMPOSITION, ON_DEMAND = BLOCKS.pop("composition"), BLOCKS.pop("on demand")
_KNOWN = {column.metric: column for columns in (*BLOCKS.values(), COMPOSITION, ON_DEMAND) for column in columns}
_NO_CONTEST = ("judge_agreement", "mask_iou")


def blocks_for(
    present: Mapping[str, MetricValue], wanted: Sequence[str] | None = None
) -> dict[str, tuple[Column, ...]]:
    """Blocks of columns to show, none empty and none wider than ``WIDEST`` columns.

    ``present`` are metrics that some record holds, and one value of each, ``wanted`` those to show in this order;
    ``["all"]`` for all there are; None for the standard ones and for those that records bring a heading for. Raises
    UserError: a wanted metric is in no record.
    """
    if wanted is None:
        parts = (column(name) for name in _successes_of_parts(present))
        blocks = {**BLOCKS, "Composition": (*COMPOSITION, *parts)}
        kept = {title: tuple(c for c in columns if c.metric in present) for title, columns in blocks.items()}
        own = [name for name, value in present.items() if value.heading and _base(name) is None]
        return {title: columns for title, columns in kept.items() if columns} | _chunks("Further metrics", own, present)
    names = [*(n for n in _KNOWN if n in present), *sorted(set(present) - set(_KNOWN))] if wanted == ["all"] else wanted
    for name in names:
        if name not in present:
            raise unknown("metric", name, sorted(present))
    return _chunks("Metrics", names, present)


def _chunks(title: str, names: Sequence[str], present: Mapping[str, MetricValue]) -> dict[str, tuple[Column, ...]]:
    chunks = [names[start : start + WIDEST] for start in range(0, len(names), WIDEST)]
    return {
        title if len(chunks) == 1 else f"{title} {i} of {len(chunks)}": tuple(column(n, present[n]) for n in chunk)
        for i, chunk in enumerate(chunks, 1)
    }


def _successes_of_parts(present: Collection[str]) -> list[str]:
    """Metrics such as ``success_gender``, where a composition was measured, as many as fit beside it."""
    own = [name for name in sorted(present) if name.startswith("success_") and not name.endswith("probe")]
    names = [name for name in own if not name.startswith("success_worst")]
    whole = COMPOSITION[0].metric in present
    return names[: WIDEST - len(COMPOSITION)] if whole else []


def column(metric: str, value: MetricValue | None = None) -> Column:
    """The column of any metric.

    Where the code does not know the metric, ``value`` tells its heading and digits, else its name does.
    """
    base = _base(metric)
    if base is not None and base.metric == metric:
        return base
    heading = metric.replace("_", " ").capitalize()
    contest = not metric.startswith(_NO_CONTEST)
    if base is not None:
        return replace(base, metric=metric, heading=heading, contest=contest)
    told, digits = (value.heading, value.digits) if value is not None else ("", None)
    return Column(metric, told or heading, 3 if digits is None else digits, contest=contest, bounds=(-inf, inf))


def _base(metric: str) -> Column | None:
    """The known column of a metric, or of what its name begins with; None for an unknown metric."""
    return _KNOWN.get(metric) or next((c for name, c in _KNOWN.items() if metric.startswith(name + "_")), None)
