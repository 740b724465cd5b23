"""What images show: their texts, what an edit left alone, and whether all parts of a composition are there."""

from __future__ import annotations

import torch
from torch import Tensor

from hspace_exp.evaluation.functional.content import any_changed, clip_alignment
from hspace_exp.evaluation.judged import NO_TARGET, JudgedBatch, known
from hspace_exp.evaluation.metrics.base import ImageMetric, RowMean, Share, where

SCENE = "scene"


class ClipAlignment(RowMean):
    """100 times the cosine of each image and its prompt."""

    heading = "CLIP alignment"
    digits = 2
    higher_is_better = True
    bounds = (-100.0, 100.0)
    by_profession = True
    needs = ("texts",)

    def observe(self, batch: JudgedBatch) -> Tensor:
        """(B,) alignments."""
        return clip_alignment(known(batch.image), known(batch.prompt))


class SubjectAlignment(ClipAlignment):
    """100 times the cosine of each image and the plain prompt of its profession, e.g. "a photo of a nurse"."""

    heading = "Subject alignment"

    def observe(self, batch: JudgedBatch) -> Tensor:
        """(B,) alignments."""
        return clip_alignment(known(batch.image), known(batch.subject))


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


class CompositionSuccess(ImageMetric):
    """Share of images that show all that was asked for."""

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
        return rows.prod(1).mean()

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """What to compare it with."""
        return f"parts that do not get in one another's way would give {rows.mean(0).prod():.3f}"


class CompositionIfIndependent(CompositionSuccess):
    """Product of the shares of images that show each part: their joint share if parts succeed independently."""

    heading = "If independent"
    note = ImageMetric.note

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """The product."""
        return rows.mean(0).prod()
