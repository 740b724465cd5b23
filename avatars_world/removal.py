"""The judges of something that is to be removed: whether an image still shows the outfit of one profession."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hspace_exp.errors import unknown
from hspace_exp.evaluation.evaluators import AvatarEvaluator, Texts
from hspace_exp.evaluation.judges import Judge
from hspace_exp.prompts.attributes import NEUTRAL

OUTFIT = "profession"  # what judges know that tells an outfit


class OutfitJudge:
    """A judge of whether the outfit of a profession is there.

    To a zero-shot judge "a photo of a person" fits everybody, so that it cannot tell what is without from what is with.
    It can tell professions apart: ``NEUTRAL`` is an image whose profession is the one asked about, all others are
    without. The profession itself is no longer told, as it is to change.
    """

    def __init__(self, judge: Judge, attribute: str, values: Sequence[str], profession: str) -> None:
        """Take a judge of professions, the attribute with its two values, of which one is ``NEUTRAL``, and whose outfit.

        Raises UserError: the judge does not know the profession.
        """
        known = judge.attributes[OUTFIT]
        if profession not in known:
            raise unknown("profession whose outfit is looked for", profession, known)
        self.inner, self.name, self.margin = judge, judge.name, judge.margin
        self.asked, self.number, self.there = attribute, known.index(profession), list(values).index(NEUTRAL)
        others = {name: some for name, some in judge.attributes.items() if name != OUTFIT}
        self.attributes: Mapping[str, tuple[str, ...]] = {**others, attribute: tuple(values)}

    def judge(self, images: Tensor) -> dict[str, Tensor]:
        """Classify (B, 3, H, W) images in [0, 1]."""
        found = dict(self.inner.judge(images))
        seen = found.pop(OUTFIT)
        classes = torch.where(seen == self.number, self.there, 1 - self.there)
        return {**found, self.asked: torch.where(seen < 0, -1, classes)}


class RemovalEvaluator(AvatarEvaluator):
    """The embedded world's evaluator, whose both judges look for an outfit. Other attributes are judged as ever."""

    def __init__(self, *args: Any, attribute: str, outfit: str, **options: Any) -> None:
        """Take the ``attribute`` that is judged by the ``outfit`` of a profession, and the arguments of its base."""
        super().__init__(*args, **options)
        self.attribute, self.outfit = attribute, outfit

    def judges(self, names: Sequence[str], texts: Texts) -> tuple[Judge, ...]:
        """The zero-shot judge and the probe."""
        if list(names) != [self.attribute]:
            return super().judges(names, texts)
        values = tuple(texts[self.attribute])
        return tuple(OutfitJudge(one, self.attribute, values, self.outfit) for one in (self.judge, self.probe))
