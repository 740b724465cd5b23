"""One evaluation of images from elsewhere: what cannot be known of them is left out, not made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.evaluation.evaluate import Evaluation, accuracy_of
from hspace_exp.evaluation.evaluators import Evaluator
from hspace_exp.evaluation.features import ImageFeatures
from hspace_exp.evaluation.functional.distribution import frechet_distance, kernel_distance
from hspace_exp.evaluation.judged_csv import IDENTITY
from hspace_exp.evaluation.metrics.base import Setting
from hspace_exp.evaluation.metrics.distribution import FrechetDistance, KernelDistance
from hspace_exp.evaluation.sources import Source
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.io.images import as_float, load_images
from hspace_exp.prompts.attributes import JOIN, parts_of

FEWEST = 6  # images that a set needs
DISTANCES = {"fid": (FrechetDistance, frechet_distance), "kid": (KernelDistance, kernel_distance)}


def score(source: Source, evaluator: Evaluator, attribute: str, *, seed: int = 0, repeats: int = 1000) -> Evaluation:
    """Evaluate images.

    Metrics of pairs are left out where images have no partner, alignment where no prompt is known, and whatever no
    image qualifies for. Where the truth is known, ``classifier_accuracy`` and the confusion matrix are of these images.
    An attribute such as "gender+skin_tone" is a composition, with targets and truths such as "female+dark". Raises
    UserError: the attribute or a value is unknown, or an image is unreadable.
    """
    parts = parts_of(attribute) if JOIN in attribute else ()
    absent = ["before", "background"] * (not source.paired) + ["texts"] * (not source.prompted)
    found = evaluator(source.pairs, attribute=attribute, seed=seed, parts=parts, unknown_fields=absent)
    metrics = {name: metric for name, metric in found.metrics.items() if metric.n}
    details: dict[str, Any] = dict(found.details)
    if source.reference:
        features = evaluator.distribution_features
        own, others = (_features(f, features) for f in ([pair.edited for pair in source.pairs], source.reference))
        metrics |= set_distances(own, others, features.name)
    if source.truth:
        values = tuple(found.per_profession[0]["counts"])
        # The first judge's columns come first.
        column = next(name for name in found.rows[0] if name.endswith(f".{attribute}.after"))
        shown = {"\x1f".join(str(row[c]) for c in IDENTITY): row[column] for row in found.rows}
        names = [name for name in shown if name in source.truth]
        judged = torch.tensor([values.index(shown[name]) if shown[name] in values else -1 for name in names])
        truth, judge = [source.truth[name] for name in names], column.split(".")[0]
        setting = Setting(values, repeats=repeats, seed=seed)
        accuracy, details["confusion"] = accuracy_of(names, judged, truth, judge, attribute, setting)
        metrics["classifier_accuracy"] = replace(accuracy, note="on these images, by the truth given for them")
    kept = {"profession", "n", "counts", "truth", *metrics}
    rows = [{name: value for name, value in row.items() if name in kept} for row in found.per_profession]
    return Evaluation(metrics, rows, details, found.rows)


def _features(files: Sequence[Path], features: ImageFeatures, batch_size: int = 32) -> Tensor:
    batches = [files[start : start + batch_size] for start in range(0, len(files), batch_size)]
    return torch.cat([features(as_float(load_images(batch))).cpu() for batch in batches])


def set_distances(x: Tensor, y: Tensor, name: str) -> dict[str, MetricValue]:
    """Every distance of a set of images from a reference set whose images are no pairs of them, without an interval.

    Takes (N, D) and (M, D) features of that ``name``. Raises UserError: fewer than six images in a set.
    """
    if min(len(x), len(y)) < FEWEST:
        raise UserError(f"sets of images need at least {FEWEST} each, got {len(x)} and a reference of {len(y)}")
    note = f"{name} features, {len(x)} images against {len(y)} that are no pairs of them"
    values = {distance: (metric(), statistic(x, y)) for distance, (metric, statistic) in DISTANCES.items()}
    return {n: metric.told(metric.tidy(float(v)), None, None, len(x), note) for n, (metric, v) in values.items()}
