"""What becomes of a composition: whether images show all of its parts together."""

from __future__ import annotations

import torch
from torch import Tensor

from hspace_exp.evaluation.functional.content import joint_share
from hspace_exp.evaluation.judged import NO_TARGET, JudgedBatch
from hspace_exp.evaluation.metrics.base import ImageMetric


class CompositionSuccess(ImageMetric):
    """Share of images that show all that was asked for; see ``functional.content.joint_share``."""

    heading = "All parts shown"
    higher_is_better = True
    bounds = (0.0, 1.0)
    needs = ("parts",)
    of_each_judge = True

    def observe(self, batch: JudgedBatch) -> Tensor:
        """(B, K) whether each image shows each of K parts."""
        parts = [batch.of_part(part) for part in batch.parts]
        shown = torch.stack([part.classes == part.targets for part in parts], dim=1).double()
        return torch.where((batch.targets != NO_TARGET)[:, None], shown, torch.nan)

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """The joint share."""
        return joint_share(rows)[1]

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """What to compare it with."""
        return f"parts that do not get in one another's way would give {joint_share(rows)[0].prod():.3f}"


class CompositionIfIndependent(CompositionSuccess):
    """Product of the shares of images that show each part: their joint share if parts succeed independently."""

    heading = "If independent"

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """The product."""
        return joint_share(rows)[0].prod()

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """Nothing to add."""
        return ""
