"""How well images show what a text says."""

from __future__ import annotations

from torch import Tensor

from hspace_exp.evaluation.functional.content import clip_alignment
from hspace_exp.evaluation.judged import JudgedBatch, known
from hspace_exp.evaluation.metrics.base import RowMean


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
