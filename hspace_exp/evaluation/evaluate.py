"""One function from pairs of images to the numbers of a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from hspace_exp.errors import UserError, unknown
from hspace_exp.evaluation.judged import OPTIONAL, Observers, judged_batch
from hspace_exp.evaluation.judged_csv import Row, entanglement_matrix, judged_rows, with_numbers
from hspace_exp.evaluation.judges import CompositionJudge, Judge
from hspace_exp.evaluation.metrics.base import ImageMetric, Setting, share_of
from hspace_exp.evaluation.metrics.content import SCENE
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.generation.manifest import Pair
from hspace_exp.io.images import as_float
from hspace_exp.io.progress import track
from hspace_exp.prompts.attributes import parts_of

# Among parts of a composition: all of it, or an attribute that is none.
WHOLE = ""
# profession → value → P(value | profession).
Truth = Mapping[str, Mapping[str, float]]


class Labelled(NamedTuple):
    """Images of known truth, (N, H, W, 3) uint8, and the value of the attribute that each shows."""

    images: Tensor
    values: Sequence[str]


@dataclass(frozen=True)
class Evaluation:
    """What a record holds of an evaluation."""

    metrics: dict[str, MetricValue]  # each number with its interval and N
    per_profession: list[dict[str, Any]]  # one row a profession, in alphabetical order
    # the judge's confusion matrix and what changed beside what was asked for; plain data
    details: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)  # one an image, for ``judged.csv``


def evaluate(
    pairs: Sequence[Pair],
    metrics: Mapping[str, ImageMetric],
    observers: Observers,
    *,
    attribute: str,
    parts: Sequence[str] = (),
    truth: Truth | None = None,
    labelled: Labelled | None = None,
    unknown_fields: Collection[str] = (),
    batch_size: int = 32,
    repeats: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Measure pairs of unedited and edited images; the unedited model is a pair of one file with itself.

    Neither the order of the pairs nor ``batch_size`` changes a number.

    Args:
        pairs: what to measure; each (profession, prompt, seed index, target) once.
        metrics: by name, which stay as they are: copies of them accumulate. What a metric needs and nobody knows leaves
            it out. Of a second judge and of parts of a composition names get a suffix, e.g. ``success_gender_probe``.
        observers: judges and features.
        attribute: what was steered; all judges must know it, or
        parts: the attributes that it is a composition of, which all must know.
        truth: P(value | profession) of the data, where known.
        labelled: images of known truth, for ``classifier_accuracy`` of the first judge; None leaves it out.
        unknown_fields: what is not known of them, e.g. "before" where they have no unedited partners.
        batch_size: pairs at once.
        repeats: bootstrap resamples; 0 leaves the intervals out.
        seed: varies the resampling.

    Raises:
        UserError: no pairs, one listed twice, an unknown attribute or target, an unreadable image.
    """
    if parts:
        observers = replace(observers, judges=tuple(CompositionJudge(j, attribute, parts) for j in observers.judges))
    judge, rows = observers.judges[0], list[Row]()
    professions = _check(pairs, attribute, observers.judges)
    values, table = judge.attributes[attribute], _truth_table(truth, professions, judge.attributes[attribute])
    setting = Setting(values, professions, table, observers.features.name, observers.device, repeats, seed)
    known = _known(observers, attribute, parts, setting, pairs, unknown_fields)
    copies = dict(_prepared(metrics, known, observers.judges, parts, setting))
    needed = {need for metric in copies.values() for need in metric.needs}
    for start in track(range(0, len(pairs), batch_size), description="evaluate images"):
        batch = pairs[start : start + batch_size]
        judged = judged_batch(batch, observers, attribute, parts, professions, needed)
        for metric in copies.values():
            seen, part = judged[metric.setting.judge], metric.setting.part
            metric.update(seen.of_part(part) if part else seen)
        rows += judged_rows(batch, judged, observers.judges)
    found = {name: _result(metric, judge.name) for name, metric in copies.items()}
    details: dict[str, Any] = {}
    if "before" in known[WHOLE]:
        details["entanglement_matrix"] = entanglement_matrix(rows, judge.name, [attribute] if parts else ())
    if labelled is not None:
        accuracy = _of_labelled(labelled, judge, attribute, batch_size, setting)
        found["classifier_accuracy"], details["confusion"] = accuracy
    shown = Counter((row["profession"], row[f"{judge.name}.{attribute}.after"]) for row in rows)
    return Evaluation(found, _rows(copies, setting, shown, truth), details, with_numbers(rows, pairs, copies))


def _of_labelled(
    labelled: Labelled, judge: Judge, attribute: str, batch_size: int, setting: Setting
) -> tuple[MetricValue, dict[str, Any]]:
    classes = [judge.judge(as_float(some))[attribute].cpu() for some in labelled.images.split(batch_size)]
    names = [f"labelled {i}" for i in range(len(labelled.images))]
    return accuracy_of(names, torch.cat(classes), labelled.values, judge.name, attribute, setting)


def accuracy_of(
    names: Sequence[str], judged: Tensor, truth: Sequence[str], judge: str, attribute: str, setting: Setting
) -> tuple[MetricValue, dict[str, Any]]:
    """How far a judge can be trusted, by its (N,) classes, negative where unclear, of images of known truth.

    Gives the share of images whose value it names, unclear counting as wrong, and the confusion matrix as plain data.
    Raises UserError: a true value is none that the judge knows.
    """
    values = setting.values
    for value in truth:
        if value not in values:
            raise unknown(attribute, value, values)
    classes, size = torch.tensor([values.index(value) for value in truth], dtype=torch.int64), len(values)
    metric = share_of(names, judged == classes, "Judge accuracy", setting)
    counts = multiclass_confusion_matrix(torch.where(judged < 0, size, judged), classes, size + 1)[:size]
    return metric, {
        **{"judge": judge, "attribute": attribute, "values": list(values)},
        **{"rows": "true value", "columns": "judged value, then unclear", "counts": counts.tolist()},
    }


def _check(pairs: Sequence[Pair], attribute: str, judges: Sequence[Judge]) -> tuple[str, ...]:
    if not pairs:
        raise UserError("nothing to evaluate: expected at least one pair of images, got none")
    for judge in judges:
        if attribute not in judge.attributes:
            raise unknown(f"attribute of the judge {judge.name!r}", attribute, judge.attributes)
    values = judges[0].attributes[attribute]
    if any(judge.attributes[attribute] != values for judge in judges):
        raise UserError(f"both judges must know the same values of {attribute} in the same order: {', '.join(values)}")
    names: set[str] = set()
    for pair in pairs:
        if pair.target and pair.target not in values:
            raise unknown(f"target of {attribute}", pair.target, values)
        if pair.name in names:
            raise UserError(f"{pair.prompt!r}, seed {pair.seed_index} is listed twice: evaluate one strength at a time")
        names.add(pair.name)
    return tuple(sorted({pair.profession for pair in pairs}))


def _truth_table(truth: Truth | None, professions: Sequence[str], values: Sequence[str]) -> Tensor | None:
    if truth is None or not any(profession in truth for profession in professions):
        return None
    rows = [[truth.get(profession, {}).get(value, torch.nan) for value in values] for profession in professions]
    return torch.tensor(rows, dtype=torch.float64)


def _known(
    observers: Observers,
    attribute: str,
    parts: Sequence[str],
    setting: Setting,
    pairs: Sequence[Pair],
    unknown_fields: Collection[str],
) -> dict[str, set[str]]:
    """What of ``OPTIONAL`` there is, by part; choices are there where images are asked for several values, or none."""
    judge = observers.judges[0]
    others = [name for name in judge.attributes if name not in (attribute, *parts)]
    there = {
        "background": observers.person_masks is not None,
        "truth": setting.truth is not None,
        "margin": judge.margin > 0,
        "scene": SCENE in others,
        "others": bool(others),
        "parts": bool(parts),
    }
    known = {name for name in OPTIONAL if there.get(name, True)} - set(unknown_fields)
    targets = {parts_of(pair.target) for pair in pairs if pair.target}
    alike = [len(set(asked)) == 1 for asked in zip(*targets, strict=True)] or [False] * len(parts)
    without = {WHOLE: any(alike), **dict(zip(parts, alike, strict=False))}
    return {part: known - {"choices"} if one else known for part, one in without.items()}


def _prepared(
    metrics: Mapping[str, ImageMetric],
    known: Mapping[str, Collection[str]],
    judges: Sequence[Judge],
    parts: Sequence[str],
    setting: Setting,
) -> Iterator[tuple[str, ImageMetric]]:
    """Each metric that can be worked out, and the same of the second judge and of parts where it is given of them."""
    for name, metric in metrics.items():
        for need in metric.needs:
            if need not in OPTIONAL:
                raise unknown(f"need of the metric {name!r}", need, OPTIONAL)
        for judge in judges if metric.of_each_judge else judges[:1]:
            suffix = "" if judge is judges[0] else f"_{judge.name}"
            for part in (WHOLE, *(parts if metric.of_each_part else ())):
                if set(metric.needs) <= set(known[part]):
                    own = replace(setting, judge=judge.name, part=part)
                    own = replace(own, values=judge.attributes[part], truth=None) if part else own
                    yield f"{name}{part and '_'}{part}{suffix}", metric.prepared(own)


def _result(metric: ImageMetric, first: str) -> MetricValue:
    """The metric's number; its heading names the part and the second judge."""
    found, part, judge = metric.result(), metric.setting.part, metric.setting.judge
    names = [part.replace("_", " ")] * bool(part) + [judge] * (judge != first)
    return replace(found, heading=f"{found.heading} ({', '.join(names)})") if found.heading and names else found


def _rows(
    metrics: Mapping[str, ImageMetric], setting: Setting, shown: Mapping[tuple[str, str], int], truth: Truth | None
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for profession in setting.professions:
        counts = {value: shown[profession, value] for value in setting.values}
        row: dict[str, Any] = {"profession": profession, "n": sum(counts.values()), "counts": counts}
        if truth is not None and profession in truth:
            row["truth"] = {value: truth[profession][value] for value in counts}
        rows.append(row)
    for name, metric in metrics.items():
        if metric.by_profession:
            for group, value in metric.by_group():
                rows[group][name] = value
    return rows
