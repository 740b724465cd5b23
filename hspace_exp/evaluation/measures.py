"""Measures of what images show beside the attribute: texts, distributions, and what else an edit changed."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from hspace_exp.evaluation.distribution_metrics import (
    ClipMmd,
    FeatureDistance,
    FrechetDistance,
    KernelBased,
    KernelDistance,
)
from hspace_exp.evaluation.functional.preservation import any_changed
from hspace_exp.evaluation.image_metric import Resampling
from hspace_exp.evaluation.measure import Measure, Observe
from hspace_exp.evaluation.metrics import ClipAlignment, Share, UnwantedShare
from hspace_exp.evaluation.neighbour_metrics import (
    Coverage,
    Density,
    Neighbourhoods,
    NeighbourMean,
    Precision,
    Recall,
)
from hspace_exp.evaluation.seen import Seen


def content_measures(judge: str, others: tuple[str, ...], **options: Unpack[Resampling]) -> dict[str, Measure]:
    """Alignment with texts, and how far the other attributes were kept, in the eyes of one judge."""
    measures = {
        "clip_alignment": Measure(ClipAlignment(**options), lambda s: (s.keys, s.image, s.prompt, s.groups), True),
        "subject_alignment": Measure(ClipAlignment(**options), lambda s: (s.keys, s.image, s.subject, s.groups), True),
    }

    def changed(names: tuple[str, ...]) -> Observe:
        def observe(seen: Seen) -> tuple[Tensor, ...]:
            before, after = seen.before[judge], seen.after[judge]
            values = any_changed({n: before[n] for n in names}, {n: after[n] for n in names})
            return seen.keys, values, seen.groups

        return observe

    def scene_kept(seen: Seen) -> tuple[Tensor, ...]:
        before, after = seen.before[judge]["scene"], seen.after[judge]["scene"]
        clear = (before >= 0) & (after >= 0)
        return seen.keys[clear], (before == after)[clear], seen.groups[clear]

    if "scene" in others:
        measures["scene_kept"] = Measure(Share(**options), scene_kept, True)
    if others:
        measures["entanglement"] = Measure(UnwantedShare(**options), changed(others), True)
        for name in others:
            measures[f"entanglement_{name}"] = Measure(UnwantedShare(**options), changed((name,)))
    return measures


KERNELS: dict[str, type[KernelBased]] = {"kid": KernelDistance, "cmmd": ClipMmd}
NEIGHBOURS: dict[str, type[NeighbourMean]] = {
    "precision": Precision,
    "recall": Recall,
    "density": Density,
    "coverage": Coverage,
}
DISTRIBUTIONS = ("fid", *KERNELS, *NEIGHBOURS)


def distribution_measures(device: str | torch.device = "cpu", **options: Unpack[Resampling]) -> dict[str, Measure]:
    """Distances between edited and unedited images as two sets; ``device`` works on all pairs of images."""
    neighbourhoods = Neighbourhoods(device)
    metrics: dict[str, FeatureDistance] = {"fid": FrechetDistance(**options)}
    metrics |= {name: metric(device=device, **options) for name, metric in KERNELS.items()}
    metrics |= {name: metric(neighbourhoods=neighbourhoods, **options) for name, metric in NEIGHBOURS.items()}
    return {
        name: Measure(metric, lambda s: (s.keys, s.features_edited, s.features_original))
        for name, metric in metrics.items()
    }
