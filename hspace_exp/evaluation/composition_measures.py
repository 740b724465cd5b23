"""What becomes of a composition: of each of its parts, and of all of them together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Unpack

import torch
from torch import Tensor

from hspace_exp.errors import unknown
from hspace_exp.evaluation.fairness_measures import fairness_measures
from hspace_exp.evaluation.functional.change import joint_share
from hspace_exp.evaluation.functional.parity import intersect, part_of
from hspace_exp.evaluation.image_metric import ImageMetric, Resampling
from hspace_exp.evaluation.judges import Judge
from hspace_exp.evaluation.measure import Measure, Observe
from hspace_exp.evaluation.seen import NO_TARGET, Seen
from hspace_exp.prompts.attributes import combinations


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
        values = tuple(combinations({part: judge.attributes[part] for part in parts}))
        self.attributes: Mapping[str, tuple[str, ...]] = {**judge.attributes, name: values}

    def judge(self, images: Tensor) -> dict[str, Tensor]:
        """Classify (B, 3, H, W) images in [0, 1]."""
        found = dict(self.inner.judge(images))
        sizes = tuple(len(self.attributes[part]) for part in self.parts)
        return {**found, self.composition: intersect(torch.stack([found[part] for part in self.parts]), sizes)}


class AllShown(ImageMetric):
    """Share of images that show all that was asked for; see ``functional.change``."""

    higher_is_better = True
    bounds = (0.0, 1.0)

    def update(self, keys: Tensor, hits: Tensor, groups: Tensor) -> None:
        """Add (B, K) bool, whether each image shows each of K things."""
        self.add(keys, hits, groups)

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """The joint share."""
        return joint_share(rows)[1]

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """What to compare it with."""
        return f"parts that do not get in one another's way would give {joint_share(rows)[0].prod():.3f}"


class AllShownIfIndependent(AllShown):
    """Product of the shares of images that show each part: what ``AllShown`` is if parts succeed independently."""

    def statistic(self, rows: Tensor, groups: Tensor) -> Tensor:
        """The product."""
        return joint_share(rows)[0].prod()

    def note(self, rows: Tensor, groups: Tensor) -> str:
        """Nothing to add."""
        return ""


def composition_measures(
    judge: CompositionJudge, professions: tuple[str, ...], suffix: str = "", **options: Unpack[Resampling]
) -> dict[str, Measure]:
    """Fairness and success of each part, e.g. ``success_gender``, and of the parts together, in one judge's eyes."""
    sizes = tuple(len(judge.attributes[part]) for part in judge.parts)
    measures: dict[str, Measure] = {}
    for k, part in enumerate(judge.parts):
        own = fairness_measures(judge.name, part, professions, sizes[k], f"_{part}{suffix}", **options)
        for name, measure in own.items():
            measures[name] = replace(measure, observe=_with_targets(measure.observe, k, sizes))

    def hits(seen: Seen) -> tuple[Tensor, ...]:
        asked = seen.targets != NO_TARGET
        after = seen.after[judge.name]
        shown = [after[part] == part_of(seen.targets, k, sizes) for k, part in enumerate(judge.parts)]
        return seen.keys[asked], torch.stack(shown, dim=1)[asked], seen.groups[asked]

    measures[f"composition_success{suffix}"] = Measure(AllShown(**options), hits)
    measures[f"composition_if_independent{suffix}"] = Measure(AllShownIfIndependent(**options), hits)
    return measures


def _with_targets(observe: Observe, part: int, sizes: tuple[int, ...]) -> Callable[[Seen], tuple[Tensor, ...] | None]:
    return lambda seen: observe(replace(seen, targets=part_of(seen.targets, part, sizes)))
