"""What an edit left alone, by the judged values of other attributes before and after."""

from __future__ import annotations

from torch import Tensor

from hspace_exp.evaluation.functional.content import any_changed
from hspace_exp.evaluation.judged import JudgedBatch
from hspace_exp.evaluation.metrics.base import Share, where

SCENE = "scene"


class SceneKept(Share):
    """Share of images whose scene is the unedited one's, of those in which both are clear."""

    heading = "Scene kept"
    by_profession = True
    needs = ("before", "scene")

    def observe(self, batch: JudgedBatch) -> Tensor:
        """Whether each image kept its scene."""
        before, after = batch.before[SCENE], batch.after[SCENE]
        return where((before >= 0) & (after >= 0), before == after)


class Entanglement(Share):
    """Share of images in which at least one attribute changed that was not asked for."""

    heading = "Entanglement"
    higher_is_better = False
    by_profession = True
    needs = ("before", "others")

    def observe(self, batch: JudgedBatch) -> Tensor:
        """Whether any other attribute of each image changed."""
        return any_changed(*({name: found[name] for name in batch.others} for found in (batch.before, batch.after)))
