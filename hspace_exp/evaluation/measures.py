"""Which metric looks at what: the standard set, and the form in which others are added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor

from hspace_exp.evaluation.functional.preservation import any_changed
from hspace_exp.evaluation.image_metric import ImageMetric, Resampling
from hspace_exp.evaluation.metrics import (
    BiasAmplification,
    ClipAlignment,
    DeviationRatio,
    Share,
    UnwantedShare,
    WorstGroupShare,
)
from hspace_exp.evaluation.pair_metrics import BackgroundPsnr, BackgroundSsim, FrechetDistance, KernelDistance
from hspace_exp.evaluation.seen import NO_TARGET, Seen


@dataclass(frozen=True)
class Measure:
    """A metric, what it is shown of a batch, and whether it is also given for each profession.

    Attributes:
        metric: accumulates.
        observe: arguments of ``metric.update``, or None to skip the batch.
        per_profession: whether the rows of professions hold it too.
    """

    metric: ImageMetric
    observe: Callable[[Seen], tuple[Tensor, ...] | None]
    per_profession: bool = False


def fairness_measures(
    judge: str,
    attribute: str,
    professions: tuple[str, ...],
    num_classes: int,
    suffix: str,
    **options: Unpack[Resampling],
) -> dict[str, Measure]:
    """Deviation ratio, success, the worst profession's success, and flips, in the eyes of one judge."""

    def classes(seen: Seen) -> tuple[Tensor, ...]:
        return seen.keys, seen.after[judge][attribute], seen.groups

    def hits(seen: Seen) -> tuple[Tensor, ...]:
        asked = seen.targets != NO_TARGET
        hit = seen.after[judge][attribute] == seen.targets
        return seen.keys[asked], hit[asked], seen.groups[asked]

    def flips(seen: Seen) -> tuple[Tensor, ...]:
        other = (seen.targets != NO_TARGET) & (seen.before[judge][attribute] != seen.targets)
        hit = seen.after[judge][attribute] == seen.targets
        return seen.keys[other], hit[other], seen.groups[other]

    return {
        f"deviation_ratio{suffix}": Measure(DeviationRatio(num_classes, **options), classes, True),
        f"success{suffix}": Measure(Share(stratified=True, **options), hits, True),
        f"success_worst{suffix}": Measure(WorstGroupShare(professions, **options), hits),
        f"flipped{suffix}": Measure(Share(**options), flips, True),
    }


def bias_measure(judge: str, attribute: str, truth: Tensor, **options: Unpack[Resampling]) -> Measure:
    """Bias amplification over the professions whose row of ``truth`` (G, C) is known (not NaN)."""
    known = ~truth.isnan().any(1)

    def classes(seen: Seen) -> tuple[Tensor, ...]:
        rows = known[seen.groups]
        return seen.keys[rows], seen.after[judge][attribute][rows], seen.groups[rows]

    return Measure(BiasAmplification(truth, **options), classes, True)


def content_measures(
    judge: str, attribute: str, attributes: tuple[str, ...], **options: Unpack[Resampling]
) -> dict[str, Measure]:
    """Alignment with texts, distance of distributions, and what else was kept, in the eyes of one judge."""
    others = tuple(name for name in attributes if name != attribute)
    measures = {
        "clip_alignment": Measure(ClipAlignment(**options), lambda s: (s.keys, s.image, s.prompt, s.groups), True),
        "subject_alignment": Measure(ClipAlignment(**options), lambda s: (s.keys, s.image, s.subject, s.groups), True),
        "fid": Measure(FrechetDistance(**options), lambda s: (s.keys, s.features_edited, s.features_original)),
        "kid": Measure(KernelDistance(**options), lambda s: (s.keys, s.features_edited, s.features_original)),
    }

    def changed(names: tuple[str, ...]) -> Callable[[Seen], tuple[Tensor, ...]]:
        def observe(seen: Seen) -> tuple[Tensor, ...]:
            before, after = seen.before[judge], seen.after[judge]
            values = any_changed({n: before[n] for n in names}, {n: after[n] for n in names})
            return seen.keys, values, seen.groups

        return observe

    def scene_kept(seen: Seen) -> tuple[Tensor, ...]:
        return seen.keys, seen.before[judge]["scene"] == seen.after[judge]["scene"], seen.groups

    if "scene" in attributes:
        measures["scene_kept"] = Measure(Share(**options), scene_kept, True)
    if others:
        measures["entanglement"] = Measure(UnwantedShare(**options), changed(others), True)
        for name in others:
            measures[f"entanglement_{name}"] = Measure(UnwantedShare(**options), changed((name,)))
    return measures


def background_measures(judge: str, attribute: str, **options: Unpack[Resampling]) -> dict[str, Measure]:
    """PSNR and SSIM of the background, of all pairs and split by whether the attribute changed."""

    def pairs(flipped: bool | None) -> Callable[[Seen], tuple[Tensor, ...] | None]:
        def observe(seen: Seen) -> tuple[Tensor, ...] | None:
            if seen.background is None:
                return None
            rows = torch.ones_like(seen.keys, dtype=torch.bool)
            if flipped is not None:
                rows = (seen.before[judge][attribute] != seen.after[judge][attribute]) == flipped
            if not rows.any():
                return None
            there = rows.to(seen.edited.device)
            images = seen.edited[there], seen.original[there], seen.background[there]
            return seen.keys[rows], *images, seen.groups[rows]

        return observe

    measures = {}
    for suffix, flipped in (("", None), ("_flipped", True), ("_unflipped", False)):
        whole = flipped is None
        measures[f"background_psnr{suffix}"] = Measure(BackgroundPsnr(**options), pairs(flipped), whole)
        measures[f"background_ssim{suffix}"] = Measure(BackgroundSsim(**options), pairs(flipped), whole)
    return measures


def agreement_measure(judge: str, other: str, attribute: str, **options: Unpack[Resampling]) -> Measure:
    """Share of edited images on which two judges agree."""

    def same(seen: Seen) -> tuple[Tensor, ...]:
        return seen.keys, seen.after[judge][attribute] == seen.after[other][attribute], seen.groups

    return Measure(Share(**options), same)
