"""How far a judge can be trusted: its answers on images of known truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hspace_exp.errors import unknown
from hspace_exp.evaluation.functional.fairness import confusion_matrix
from hspace_exp.evaluation.judges import Judge
from hspace_exp.evaluation.metrics.base import share_of
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.io.images import as_float


@dataclass(frozen=True)
class Labelled:
    """Images whose attributes are known, to measure a judge with.

    Attributes:
        images: (N, H, W, 3) uint8.
        values: the true value of the attribute in each image.
    """

    images: Tensor
    values: Sequence[str]


@dataclass(frozen=True)
class Accuracy:
    """What labelled images say about a judge.

    Attributes:
        metric: share of images whose value it names; unclear counts as wrong.
        confusion: (C, C + 1) counts: rows are true values, columns judged ones, the last the unclear.
        judge: its name.
        attribute: what was judged.
        values: in class order.
    """

    metric: MetricValue
    confusion: Tensor
    judge: str
    attribute: str
    values: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data for the record."""
        names = {"judge": self.judge, "attribute": self.attribute, "values": list(self.values)}
        return {
            **names,
            "rows": "true value",
            "columns": "judged value, then unclear",
            "counts": self.confusion.tolist(),
        }


def judge_accuracy(
    judge: Judge, attribute: str, labelled: Labelled, *, batch_size: int = 32, repeats: int = 1000, seed: int = 0
) -> Accuracy:
    """Judge labelled images."""
    values = judge.attributes[attribute]
    judged = torch.cat([judge.judge(as_float(images))[attribute].cpu() for images in labelled.images.split(batch_size)])
    names = [f"labelled {i}" for i in range(len(judged))]
    return accuracy_of(names, judged, labelled.values, judge.name, attribute, values, repeats=repeats, seed=seed)


def accuracy_of(
    names: Sequence[str],
    judged: Tensor,
    truth: Sequence[str],
    judge: str,
    attribute: str,
    values: tuple[str, ...],
    *,
    repeats: int = 1000,
    seed: int = 0,
) -> Accuracy:
    """Compare (N,) judged classes, negative where unclear, with the true values of images with these names.

    Raises:
        UserError: a true value is none that the judge knows.
    """
    for value in truth:
        if value not in values:
            raise unknown(attribute, value, values)
    classes = torch.tensor([values.index(value) for value in truth], dtype=torch.int64)
    found = share_of(names, judged == classes, repeats=repeats, seed=seed)
    shown = replace(found, heading="Judge accuracy", digits=3)
    return Accuracy(shown, confusion_matrix(classes, judged, len(values)), judge, attribute, values)
