"""One function from pairs of images to the numbers of a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from hspace_exp.errors import UserError, unknown
from hspace_exp.evaluation.accuracy import Labelled, judge_accuracy
from hspace_exp.evaluation.class_metrics import ClassBalance, CorrectedDeviationRatio
from hspace_exp.evaluation.composition_measures import CompositionJudge, composition_measures
from hspace_exp.evaluation.fairness_measures import (
    agreement_measure,
    bias_measure,
    corrected_measure,
    fairness_measures,
    intersection_measure,
    parity_measures,
    unclear_measure,
)
from hspace_exp.evaluation.features import ImageFeatures, ImageTextModel, OpenClipFeatures
from hspace_exp.evaluation.image_metric import Resampling
from hspace_exp.evaluation.items import Row, entanglement_matrix, judged_rows, with_numbers
from hspace_exp.evaluation.judges import Judge
from hspace_exp.evaluation.measure import Measure
from hspace_exp.evaluation.measures import DISTRIBUTIONS, content_measures, distribution_measures
from hspace_exp.evaluation.perceptual import FeatureDistance, PerceptualDistance
from hspace_exp.evaluation.seen import Looker, PersonMasks
from hspace_exp.evaluation.space_measures import background_measures, perceptual_measures, subject_measures
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.generation.manifest import Pair
from hspace_exp.io.progress import track


@dataclass(frozen=True)
class Evaluation:
    """What a record holds of an evaluation.

    Attributes:
        metrics: each number with its interval and N.
        per_profession: one row a profession, in alphabetical order.
        details: the judge's confusion matrix and what changed beside what was asked for; plain data.
        items: one row an image, for ``judged.csv``.
    """

    metrics: dict[str, MetricValue]
    per_profession: list[dict[str, Any]]
    details: dict[str, Any] = field(default_factory=dict)
    items: list[Row] = field(default_factory=list)


def evaluate(
    pairs: Sequence[Pair],
    *,
    attribute: str,
    parts: Sequence[str] = (),
    judge: Judge,
    clip: ImageTextModel,
    features: ImageFeatures | None = None,
    second_judge: Judge | None = None,
    person_masks: PersonMasks | None = None,
    perceptual: PerceptualDistance | None = None,
    truth: Mapping[str, Mapping[str, float]] | None = None,
    labelled: Callable[[], Labelled] | None = None,
    intersections: Sequence[Sequence[str]] = (),
    extra: Mapping[str, Measure] | None = None,
    batch_size: int = 32,
    repeats: int = 1000,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Evaluation:
    """Measure pairs of unedited and edited images; the unedited model is a pair of one file with itself.

    Neither the order of the pairs nor ``batch_size`` changes a number.

    Args:
        pairs: what to measure; each (profession, prompt, seed index, target) once.
        attribute: what was steered; both judges must know it, or
        parts: the attributes that it is a composition of, which both must know.
        judge: decides what an image presents.
        clip: image-text model for alignment. Give ``judge`` the same `SharedClip` and images are embedded once.
        features: features for ``fid`` and ``kid``; None takes those of ``clip``.
        second_judge: repeats the fairness metrics, named with its name as suffix.
        person_masks: finds the person; None leaves the metrics of backgrounds and subjects out.
        perceptual: compares backgrounds and subjects beside PSNR and SSIM; None takes the distance of ``features``.
        truth: P(value | profession) of the data, for ``bias_amplification``; None leaves it out.
        labelled: gives images of known truth, for ``classifier_accuracy`` of ``judge`` and
            ``deviation_ratio_corrected``; None leaves them out.
        intersections: attributes whose combinations get a deviation ratio of their own, e.g. gender and skin tone.
        extra: further measures by name.
        batch_size: pairs at once.
        repeats: bootstrap resamples; 0 leaves the intervals out.
        seed: varies the resampling.
        device: where images are compared.

    Raises:
        UserError: no pairs, a pair listed twice, an unknown attribute or target, an unreadable image.
    """
    if parts:
        judge = CompositionJudge(judge, attribute, parts)
        second_judge = None if second_judge is None else CompositionJudge(second_judge, attribute, parts)
    values, professions = _check(pairs, attribute, judge, second_judge)
    options: Resampling = {"repeats": repeats, "seed": seed}
    measures = fairness_measures(judge.name, attribute, professions, len(values), "", **options)
    measures |= parity_measures(judge.name, attribute, len(values), **options)
    if judge.margin > 0:
        measures["unclear"] = unclear_measure(judge.name, attribute, **options)
    for names in intersections:
        sizes = tuple(len(judge.attributes[name]) for name in names)
        measures[f"deviation_ratio_{'_x_'.join(names)}"] = intersection_measure(judge.name, names, sizes, **options)
    corrected = CorrectedDeviationRatio(torch.zeros(len(values), len(values)), **options)
    if labelled is not None:
        measures["deviation_ratio_corrected"] = corrected_measure(judge.name, attribute, corrected)
    if truth is not None and any(profession in truth for profession in professions):
        nothing = dict.fromkeys(values, float("nan"))
        rows = [[truth.get(p, nothing)[value] for value in values] for p in professions]
        table = torch.tensor(rows, dtype=torch.float64)
        measures["bias_amplification"] = bias_measure(judge.name, attribute, table, **options)
    others = tuple(name for name in judge.attributes if name not in (attribute, *parts))
    measures |= content_measures(judge.name, others, **options)
    measures |= distribution_measures(device, **options)
    judges = [judge]
    if second_judge is not None:
        judges.append(second_judge)
        suffix = f"_{second_judge.name}"
        measures |= fairness_measures(second_judge.name, attribute, professions, len(values), suffix, **options)
        measures["judge_agreement"] = agreement_measure(judge.name, second_judge.name, attribute, **options)
    for one in judges:
        if isinstance(one, CompositionJudge):
            suffix = "" if one is judge else f"_{one.name}"
            measures |= composition_measures(one, professions, suffix, **options)
    measures |= extra or {}
    features = OpenClipFeatures(clip) if features is None else features
    if person_masks is not None:
        measures |= background_measures(judge.name, attribute, **options) | subject_measures(**options)
        measures |= perceptual_measures(perceptual or FeatureDistance(features), **options)
    look = Looker(values, professions, judges, clip, features, person_masks, device)
    batches = [pairs[start : start + batch_size] for start in range(0, len(pairs), batch_size)]

    def show(batch: Sequence[Pair]) -> list[Row]:
        seen = look(batch)
        for measure in measures.values():
            arguments = measure.observe(seen)
            if arguments is not None:
                measure.metric.update(*arguments)
        return judged_rows(batch, seen, judges)

    items = [row for batch in track(batches, description="evaluate images") for row in show(batch)]
    accuracy = None
    if labelled is not None:
        accuracy = judge_accuracy(judge, attribute, labelled(), batch_size=batch_size, **options)
        corrected.confusion.copy_(accuracy.confusion[:, : len(values)])
    metrics = {name: measure.metric.result() for name, measure in measures.items()}
    for name in DISTRIBUTIONS:
        notes = filter(None, (f"{features.name} features", metrics[name].note))
        metrics[name] = replace(metrics[name], note=", ".join(notes))
    matrix = entanglement_matrix(items, judge.name, without=[attribute] if parts else ())
    details: dict[str, Any] = {"entanglement_matrix": matrix}
    if accuracy is not None:
        metrics["classifier_accuracy"] = accuracy.metric
        details["confusion"] = accuracy.to_json()
    return Evaluation(
        metrics, _rows(measures, professions, values, truth), details, with_numbers(items, pairs, measures)
    )


def _check(
    pairs: Sequence[Pair], attribute: str, judge: Judge, second_judge: Judge | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not pairs:
        raise UserError("nothing to evaluate: expected at least one pair of images, got none")
    for one in (judge, second_judge):
        if one is not None and attribute not in one.attributes:
            raise unknown(f"attribute of the judge {one.name!r}", attribute, one.attributes)
    values = judge.attributes[attribute]
    if second_judge is not None and second_judge.attributes[attribute] != values:
        raise UserError(f"both judges must know the same values of {attribute} in the same order: {', '.join(values)}")
    names: set[str] = set()
    for pair in pairs:
        if pair.target and pair.target not in values:
            raise unknown(f"target of {attribute}", pair.target, values)
        if pair.name in names:
            raise UserError(
                f"{pair.prompt!r} with seed index {pair.seed_index} is listed twice: evaluate one strength at a time"
            )
        names.add(pair.name)
    return values, tuple(sorted({pair.profession for pair in pairs}))


def _rows(
    measures: Mapping[str, Measure],
    professions: tuple[str, ...],
    values: tuple[str, ...],
    truth: Mapping[str, Mapping[str, float]] | None,
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    counter = measures["deviation_ratio"].metric
    counts = counter.group_counts() if isinstance(counter, ClassBalance) else {}
    for group, profession in enumerate(professions):
        shown = counts.get(group, [0] * len(values))  # none where no image of the profession is clear
        row: dict[str, Any] = {"profession": profession, "n": sum(shown)}
        row["counts"] = dict(zip(values, shown, strict=True))
        if truth is not None and profession in truth:
            row["truth"] = {value: truth[profession][value] for value in values}
        rows.append(row)
    for name, measure in measures.items():
        if measure.per_profession:
            for group, value in measure.metric.by_group():
                rows[group][name] = value
    return rows
