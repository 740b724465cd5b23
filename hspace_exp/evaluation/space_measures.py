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

    def pairs(flipped: bool | None) -> Observe:
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


def subject_measures(**options: Unpack[Resampling]) -> dict[str, Measure]:
    """PSNR and SSIM of the persons with their surroundings, and the share of all change that lies there."""

    def pairs(seen: Seen) -> tuple[Tensor, ...] | None:
        if seen.background is None:
            return None
        return seen.keys, seen.edited, seen.original, ~seen.background, seen.groups

    def share(seen: Seen) -> tuple[Tensor, ...] | None:
        if seen.background is None:
            return None
        found = change_share(seen.edited, seen.original, ~seen.background).cpu()
        changed = found.isfinite()
        return seen.keys[changed], found[changed], seen.groups[changed]

    return {
        "subject_psnr": Measure(SubjectPsnr(**options), pairs),
        "subject_ssim": Measure(SubjectSsim(**options), pairs),
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
