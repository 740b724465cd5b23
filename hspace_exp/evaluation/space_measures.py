"""Measures of where in space an edit acts: outside the persons of both images, and inside."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from hspace_exp.evaluation.functional.change import change_share
from hspace_exp.evaluation.image_metric import Resampling
from hspace_exp.evaluation.measure import Measure, Observe
from hspace_exp.evaluation.metrics import RowMean, Share
from hspace_exp.evaluation.pair_metrics import BackgroundPsnr, BackgroundSsim, SubjectPsnr, SubjectSsim
from hspace_exp.evaluation.perceptual import PerceptualDistance
from hspace_exp.evaluation.seen import Seen


class MeanDistance(RowMean):
    """Mean over images of a distance."""

    higher_is_better = False
    bounds = (0.0, None)

    def update(self, keys: Tensor, values: Tensor, groups: Tensor) -> None:
        """Add (B,) distances."""
        self.add(keys, values, groups)


def background_measures(judge: str, attribute: str, **options: Unpack[Resampling]) -> dict[str, Measure]:
    """PSNR and SSIM of the background, of all pairs and split by whether the attribute changed."""

    def chosen(seen: Seen, flipped: bool | None) -> Tensor:
        if flipped is None:
            return torch.ones_like(seen.keys, dtype=torch.bool)
        return (seen.before[judge][attribute] != seen.after[judge][attribute]) == flipped

    def errors(flipped: bool | None) -> Observe:
        def observe(seen: Seen) -> tuple[Tensor, ...] | None:
            if seen.places is None:
                return None
            rows, there = chosen(seen, flipped), seen.places[0]
            return seen.keys[rows], there.squared[rows], there.count[rows], seen.groups[rows]

        return observe

    def likeness(flipped: bool | None) -> Observe:
        def observe(seen: Seen) -> tuple[Tensor, ...] | None:
            if seen.places is None:
                return None
            rows = chosen(seen, flipped)
            return seen.keys[rows], seen.places[0].ssim[rows], seen.groups[rows]

        return observe

    measures = {}
    for suffix, flipped in (("", None), ("_flipped", True), ("_unflipped", False)):
        whole = flipped is None
        measures[f"background_psnr{suffix}"] = Measure(BackgroundPsnr(**options), errors(flipped), whole)
        measures[f"background_ssim{suffix}"] = Measure(BackgroundSsim(**options), likeness(flipped), whole)
    return measures


def subject_measures(**options: Unpack[Resampling]) -> dict[str, Measure]:
    """PSNR and SSIM of the persons with their surroundings, and the share of all change that lies there."""

    def errors(seen: Seen) -> tuple[Tensor, ...] | None:
        if seen.places is None:
            return None
        return seen.keys, seen.places[1].squared, seen.places[1].count, seen.groups

    def likeness(seen: Seen) -> tuple[Tensor, ...] | None:
        return None if seen.places is None else (seen.keys, seen.places[1].ssim, seen.groups)

    def share(seen: Seen) -> tuple[Tensor, ...] | None:
        if seen.background is None:
            return None
        found = change_share(seen.edited, seen.original, ~seen.background).cpu()
        changed = found.isfinite()
        return seen.keys[changed], found[changed], seen.groups[changed]

    return {
        "subject_psnr": Measure(SubjectPsnr(**options), errors),
        "subject_ssim": Measure(SubjectSsim(**options), likeness),
        "change_inside": Measure(Share(**options), share, True),
    }


def perceptual_measures(distance: PerceptualDistance, **options: Unpack[Resampling]) -> dict[str, Measure]:
    """How different backgrounds and persons look, all else taken from the unedited image."""

    def part(background: bool) -> Observe:
        def observe(seen: Seen) -> tuple[Tensor, ...] | None:
            if seen.background is None:
                return None
            if seen.edited is seen.original:
                return seen.keys, torch.zeros(len(seen.keys), dtype=torch.float64), seen.groups
            where = seen.background if background else ~seen.background
            pasted = torch.where(where, seen.edited, seen.original)
            return seen.keys, distance(pasted, seen.original), seen.groups

        return observe

    return {
        f"background_{distance.name}": Measure(MeanDistance(**options), part(True), True),
        f"subject_{distance.name}": Measure(MeanDistance(**options), part(False)),
    }
