"""The form in which metrics are added to an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from hspace_exp.evaluation.image_metric import ImageMetric
from hspace_exp.evaluation.seen import Seen

Observe = Callable[[Seen], tuple[Tensor, ...] | None]


@dataclass(frozen=True)
class Measure:
    """A metric, what it is shown of a batch, and whether it is also given for each profession.

    Attributes:
        metric: accumulates.
        observe: arguments of ``metric.update``, or None to skip the batch.
        per_profession: whether the rows of professions hold it too.
    """

    metric: ImageMetric
    observe: Observe
    per_profession: bool = False
