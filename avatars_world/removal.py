"""The judges of something that is to be removed: whether an image still shows the outfit of one profession."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hspace_exp.errors import unknown
from hspace_exp.evaluation.evaluators import AvatarEvaluator, Texts
from hspace_exp.evaluation.judges import Judge, ZeroShotJudge
from hspace_exp.prompts.attributes import NEUTRAL

OUTFIT, PLAIN = "profession", "person"  # what judges know that tells an outfit, and who wears none
# In cosine. "a photo of a person" fits everybody, about as well as the profession that is there: on renders of
# professions it leads by -.1 to .29, on images of people in plain clothes by .43 and more.
LEAD = 0.3


class OutfitJudge:
    """A judge of whether the outfit of a profession is there, ``NEUTRAL``, or a person in plain clothes.

    All else is unclear: another outfit is no removal, nor is an image that an edit broke, as far as the judge sees it.
    The profession itself is no longer told, as it is to change.
    """

    def __init__(
        self, judge: Judge, attribute: str, values: Sequence[str], profession: str, plain: Callable[..., Tensor]
    ) -> None:
        """Take a judge of professions, the attribute and its two values, whose outfit it is, and who tells plain ones.

        ``plain`` says of (B, 3, H, W) images in [0, 1] and the (B,) professions that the judge saw whether each shows
        somebody in plain clothes, (B,) bool. Raises UserError: the judge does not know the profession.
        """
        known = judge.attributes[OUTFIT]
        if profession not in known:
            raise unknown("profession whose outfit is looked for", profession, known)
        self.inner, self.name, self.margin, self.plain = judge, judge.name, LEAD, plain
        self.asked, self.number, self.there = attribute, known.index(profession), list(values).index(NEUTRAL)
        others = {name: some for name, some in judge.attributes.items() if name != OUTFIT}
        self.attributes: Mapping[str, tuple[str, ...]] = {**others, attribute: tuple(values)}

    def judge(self, images: Tensor) -> dict[str, Tensor]:
        """Classify (B, 3, H, W) images in [0, 1]."""
        found = dict(self.inner.judge(images))
        seen = found.pop(OUTFIT)
        classes = torch.where(seen == self.number, self.there, -1)
        return {**found, self.asked: torch.where(self.plain(images, seen), 1 - self.there, classes)}


class RemovalEvaluator(AvatarEvaluator):
    """The embedded world's evaluator, whose both judges look for an outfit. Other attributes are judged as ever."""

    def __init__(self, *args: Any, attribute: str, outfit: str, **options: Any) -> None:
        """Take the ``attribute`` that is judged by the ``outfit`` of a profession, and the arguments of its base."""
        super().__init__(*args, **options)
        self.attribute, self.outfit = attribute, outfit

    def judges(self, names: Sequence[str], texts: Texts) -> tuple[Judge, ...]:
        """The probe, which was trained on people in plain clothes, too, and then the zero-shot judge.

        The order is not the usual one: to the zero-shot judge an image that an edit broke is a person in plain clothes.
        """
        if list(names) != [self.attribute]:
            return super().judges(names, texts)
        asked, number = (self.attribute, tuple(texts[self.attribute])), self.probe.attributes[OUTFIT].index(PLAIN)
        zero_shot = OutfitJudge(self.judge, *asked, self.outfit, lambda images, _: _leads(self.judge, images))
        return OutfitJudge(self.probe, *asked, self.outfit, lambda _, seen: seen == number), zero_shot


def _leads(judge: ZeroShotJudge, images: Tensor) -> Tensor:
    """(B,) whether "a photo of a person" fits better than every profession, by ``LEAD`` at least."""
    features = judge.clip.encode_images(images)
    person = judge.clip.encode_texts([f"a photo of a {PLAIN}"])[0]
    return (features @ person - (features @ judge.anchors[OUTFIT].T).amax(1) >= LEAD).cpu()
