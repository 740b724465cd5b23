"""One evaluation of images from elsewhere: what cannot be known of them is left out, not made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch

from hspace_exp.errors import UserError, unknown
from hspace_exp.evaluation.accuracy import Accuracy
from hspace_exp.evaluation.composition_measures import CompositionJudge
from hspace_exp.evaluation.evaluate import Evaluation
from hspace_exp.evaluation.features import ImageFeatures
from hspace_exp.evaluation.functional.corrected import confusion_matrix
from hspace_exp.evaluation.image_metric import item_keys
from hspace_exp.evaluation.items import IDENTITY, Row
from hspace_exp.evaluation.judges import Judge
from hspace_exp.evaluation.measures import DISTRIBUTIONS
from hspace_exp.evaluation.metrics import Share
from hspace_exp.evaluation.sets import features_of, set_distances
from hspace_exp.evaluation.sources import Source
from hspace_exp.generation.manifest import Pair
from hspace_exp.prompts.attributes import JOIN, parts_of
from hspace_exp.results.record import read_record

EXPERIMENT = "evaluate"
OF_PAIRS = (
    *("flipped", "scene_kept", "entanglement", "background", "change"),
    *("subject_psnr", "subject_ssim", "subject_feature", "subject_lpips"),
)
OF_TEXTS = ("clip_alignment", "subject_alignment")


class Evaluator(Protocol):
    """What judges: `hspace_exp.evaluation.evaluators` has them."""

    @property
    def judge(self) -> Judge:
        """Decides what an image presents."""

    @property
    def distribution_features(self) -> ImageFeatures:
        """Features for distances between sets of images."""

    def __call__(self, pairs: Sequence[Pair], attribute: str, seed: int = 0, parts: Sequence[str] = ()) -> Evaluation:
        """Measure pairs of images; ``parts`` names the attributes that ``attribute`` is a composition of."""


def is_foreign(folder: Path) -> bool:
    """Whether the folder holds the record of a run, which must not be overwritten."""
    try:
        return read_record(folder).experiment != EXPERIMENT
    except UserError:
        return (folder / "record.json").exists()


def score(source: Source, evaluator: Evaluator, attribute: str, *, seed: int = 0, repeats: int = 1000) -> Evaluation:
    """Evaluate images.

    Metrics of pairs are left out where images have no partner, alignment where no prompt is known, and whatever no
    image qualifies for. Where the truth is known, ``classifier_accuracy`` and the confusion matrix are of these images.
    An attribute such as "gender+skin_tone" is a composition, with targets and truths such as "female+dark".

    Raises:
        UserError: the attribute or a value is unknown, or an image is unreadable.
    """
    parts = parts_of(attribute) if JOIN in attribute else ()
    found = evaluator(source.pairs, attribute=attribute, seed=seed, parts=parts)
    metrics = {name: metric for name, metric in found.metrics.items() if metric.n}
    details = dict(found.details)
    if not source.paired:
        metrics = {n: m for n, m in metrics.items() if not n.startswith(OF_PAIRS) and n not in DISTRIBUTIONS}
        details.pop("entanglement_matrix", None)
    if not source.prompted:
        metrics = {n: m for n, m in metrics.items() if n not in OF_TEXTS}
    if source.reference:
        features = evaluator.distribution_features
        own = features_of([pair.edited for pair in source.pairs], features)
        metrics |= set_distances(
            own, features_of(source.reference, features), features.name, repeats=repeats, seed=seed
        )
    if source.truth:
        judge = CompositionJudge(evaluator.judge, attribute, parts) if parts else evaluator.judge
        accuracy = _accuracy(found.items, source.truth, judge, attribute, repeats, seed)
        metrics["classifier_accuracy"] = replace(accuracy.metric, note="on these images, by the truth given for them")
        details["confusion"] = accuracy.to_json()
    kept = {"profession", "n", "counts", "truth", *metrics}
    rows = [{name: value for name, value in row.items() if name in kept} for row in found.per_profession]
    return Evaluation(metrics, rows, details, found.items)


def _accuracy(
    items: list[Row], truth: Mapping[str, str], judge: Judge, attribute: str, repeats: int, seed: int
) -> Accuracy:
    values = judge.attributes[attribute]
    for value in truth.values():
        if value not in values:
            raise unknown(f"truth of {attribute}", value, values)
    seen = {"\x1f".join(str(row[c]) for c in IDENTITY): row[f"{judge.name}.{attribute}.after"] for row in items}
    known = [(name, seen[name]) for name in seen if name in truth]
    actual = torch.tensor([values.index(truth[name]) for name, _ in known])
    judged = torch.tensor([values.index(shown) if shown in values else -1 for _, shown in known])
    metric = Share(repeats=repeats, seed=seed)
    metric.update(item_keys([name for name, _ in known]), judged == actual)
    return Accuracy(metric.result(), confusion_matrix(actual, judged, len(values)), judge.name, attribute, values)
