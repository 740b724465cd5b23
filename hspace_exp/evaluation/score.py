"""One evaluation of images from elsewhere: what cannot be known of them is left out, not made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from hspace_exp.evaluation.accuracy import Accuracy, accuracy_of
from hspace_exp.evaluation.evaluate import Evaluation
from hspace_exp.evaluation.evaluators import Evaluator
from hspace_exp.evaluation.judged_csv import IDENTITY, Row
from hspace_exp.evaluation.sets import features_of, set_distances
from hspace_exp.evaluation.sources import Source
from hspace_exp.prompts.attributes import JOIN, parts_of


def score(source: Source, evaluator: Evaluator, attribute: str, *, seed: int = 0, repeats: int = 1000) -> Evaluation:
    """Evaluate images.

    Metrics of pairs are left out where images have no partner, alignment where no prompt is known, and whatever no
    image qualifies for. Where the truth is known, ``classifier_accuracy`` and the confusion matrix are of these images.
    An attribute such as "gender+skin_tone" is a composition, with targets and truths such as "female+dark".

    Raises:
        UserError: the attribute or a value is unknown, or an image is unreadable.
    """
    parts = parts_of(attribute) if JOIN in attribute else ()
    absent = ["before", "background"] * (not source.paired) + ["texts"] * (not source.prompted)
    found = evaluator(source.pairs, attribute=attribute, seed=seed, parts=parts, unknown_fields=absent)
    metrics = {name: metric for name, metric in found.metrics.items() if metric.n}
    details = dict(found.details)
    if source.reference:
        features = evaluator.distribution_features
        own = features_of([pair.edited for pair in source.pairs], features)
        metrics |= set_distances(
            own, features_of(source.reference, features), features.name, repeats=repeats, seed=seed
        )
    if source.truth:
        values = tuple(found.per_profession[0]["counts"])
        accuracy = _accuracy(found.rows, source.truth, attribute, values, repeats, seed)
        metrics["classifier_accuracy"] = replace(accuracy.metric, note="on these images, by the truth given for them")
        details["confusion"] = accuracy.to_json()
    kept = {"profession", "n", "counts", "truth", *metrics}
    rows = [{name: value for name, value in row.items() if name in kept} for row in found.per_profession]
    return Evaluation(metrics, rows, details, found.rows)


def _accuracy(
    rows: Sequence[Row],
    truth: Mapping[str, str],
    attribute: str,
    values: tuple[str, ...],
    repeats: int,
    seed: int,
) -> Accuracy:
    """Of the first judge, whose columns come first."""
    column = next(name for name in rows[0] if name.endswith(f".{attribute}.after"))
    shown = {"\x1f".join(str(row[c]) for c in IDENTITY): row[column] for row in rows}
    names = [name for name in shown if name in truth]
    judged = torch.tensor([values.index(shown[name]) if shown[name] in values else -1 for name in names])
    true, judge = [truth[name] for name in names], column.split(".")[0]
    return accuracy_of(names, judged, true, judge, attribute, values, repeats=repeats, seed=seed)
