"""Judges say which value of each attribute an image presents. They judge pictures, and know nothing about people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Protocol

import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor

from hspace_exp.config.command_line import CONF
from hspace_exp.errors import UserError, unknown
from hspace_exp.evaluation.features import ImageTextModel
from hspace_exp.evaluation.functional.fairness import intersect
from hspace_exp.io.images import resized
from hspace_exp.prompts.attributes import JOIN

# Texts for photographs: the positive prompts of conf/attribute.
_FILES = {name: OmegaConf.load(CONF / "attribute" / f"{name}.yaml").concepts for name in ("gender", "age", "race")}
PHOTO_TEXTS = {name: {value: str(one.positive) for value, one in some.items()} for name, some in _FILES.items()}

PLAIN = "a photo of "
SIDE = 128  # pixels of images as a `ProbeJudge` sees them


def with_wordings(texts: Mapping[str, Mapping[str, str]], wordings: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Texts (attribute → value → text) that begin with "a photo of " in several wordings, for a prompt ensemble.

    ``{}`` stands in a wording where the rest of a text goes, e.g. "a cropped portrait of {}".
    """
    for wording in wordings:
        if "{}" not in wording:
            raise UserError(f"expected {{}} in the wording {wording!r} of a judge's texts, e.g. 'a portrait of {{}}'")
    return {
        attribute: {
            value: [wording.format(text.removeprefix(PLAIN)) for wording in wordings] for value, text in values.items()
        }
        for attribute, values in texts.items()
    }


class Judge(Protocol):
    """Classifies images."""

    name: str  # goes into metric names, e.g. "probe"
    attributes: Mapping[str, tuple[str, ...]]  # values of each attribute in class order
    margin: float  # 0, or the lead that a class needs over the next to be clear

    def judge(self, images: Tensor) -> dict[str, Tensor]:
        """Class (B,) int64 on the CPU for each attribute, of (B, 3, H, W) images in [0, 1]; -1 where unclear."""


class ZeroShotJudge:
    """Argmax of the cosine between an image and the texts of each value (Radford et al., 2021)."""

    name = "clip"

    def __init__(
        self, clip: ImageTextModel, texts: Mapping[str, Mapping[str, str | Sequence[str]]], margin: float = 0.0
    ) -> None:
        """Take the model and the texts: attribute → two values or more → text or texts, e.g. ``PHOTO_TEXTS``.

        Of several texts (a prompt ensemble) the mean of the unit vectors counts, scaled to unit length (Radford et al.,
        section 3.1.4). An image is unclear (class -1) where the best value's cosine leads by less than ``margin``.
        """
        self.attributes: Mapping[str, tuple[str, ...]] = {key: tuple(values) for key, values in texts.items()}
        self.clip, self.texts, self.margin = clip, texts, margin

    @cached_property
    def anchors(self) -> dict[str, Tensor]:
        """(C, D) unit vectors of each attribute's values."""
        return {key: torch.stack([*map(self._anchor, values.values())]) for key, values in self.texts.items()}

    def knowing(self, texts: Mapping[str, Mapping[str, str | Sequence[str]]]) -> ZeroShotJudge:
        """The judge, which also tells apart the values of attributes that it does not know yet, by their texts."""
        new = {attribute: values for attribute, values in texts.items() if attribute not in self.attributes}
        return ZeroShotJudge(self.clip, {**self.texts, **new}, self.margin) if new else self

    def judge(self, images: Tensor) -> dict[str, Tensor]:
        """Classify (B, 3, H, W) images in [0, 1]."""
        features = self.clip.encode_images(images)
        found = {}
        for attribute, anchors in self.anchors.items():
            cosines = features @ anchors.T
            best, second = cosines.topk(2, dim=1).values.T
            found[attribute] = torch.where(best - second < self.margin, -1, cosines.argmax(1)).cpu()
        return found

    def _anchor(self, wordings: str | Sequence[str]) -> Tensor:
        found = self.clip.encode_texts([wordings] if isinstance(wordings, str) else list(wordings))
        return found[0] if len(found) == 1 else F.normalize(found.mean(0), dim=0)


@dataclass
class ProbeJudge:
    """A supervised classifier that nothing else is tuned on, e.g. ``hspace_exp.avatars.probe.AttributeProbe``."""

    # (B, 3, ``SIDE``, ``SIDE``) images in [0, 1] → logits (B, C) for each attribute
    probe: Callable[[Tensor], Mapping[str, Tensor]]
    attributes: Mapping[str, tuple[str, ...]]  # values in the order of the logits
    device: str | torch.device = "cpu"  # that the classifier is on
    name = "probe"
    margin = 0.0

    def judge(self, images: Tensor) -> dict[str, Tensor]:
        """Classify (B, 3, H, W) images in [0, 1]."""
        images = resized(images.to(self.device, torch.float32), SIDE)
        with torch.no_grad():
            return {attribute: logits.argmax(1).cpu() for attribute, logits in self.probe(images).items()}


class CompositionJudge:
    """A judge that also names the combination of several attributes' values, e.g. "female+dark", as one attribute.

    An image is unclear in the combination where it is in any part.
    """

    def __init__(self, judge: Judge, name: str, parts: Sequence[str]) -> None:
        """Take the judge, the new attribute's name and the attributes that it combines."""
        for part in parts:
            if part not in judge.attributes:
                raise unknown(f"attribute of the judge {judge.name!r}", part, judge.attributes)
        self.inner, self.name, self.margin = judge, judge.name, judge.margin
        self.composition, self.parts = name, tuple(parts)
        values = product(*(judge.attributes[part] for part in parts))  # the last part varies fastest
        self.attributes: Mapping[str, tuple[str, ...]] = {**judge.attributes, name: tuple(map(JOIN.join, values))}

    def judge(self, images: Tensor) -> dict[str, Tensor]:
        """Classify (B, 3, H, W) images in [0, 1]."""
        found = dict(self.inner.judge(images))
        sizes = tuple(len(self.attributes[part]) for part in self.parts)
        return {**found, self.composition: intersect(torch.stack([found[part] for part in self.parts]), sizes)}
