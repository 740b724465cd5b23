"""Ready-made evaluations: which judges, features, masks and metrics look at the images of which world."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from hspace_exp.avatars.labelled import COUNT
from hspace_exp.avatars.probe import ATTRIBUTES as PROBED
from hspace_exp.avatars.probe import load_probe
from hspace_exp.avatars.texts import judge_texts
from hspace_exp.avatars.world import SKEWED
from hspace_exp.errors import UserError
from hspace_exp.evaluation.evaluate import Evaluation, evaluate
from hspace_exp.evaluation.feature_cache import CachedClip, weights_hash
from hspace_exp.evaluation.features import ImageFeatures, OpenClipFeatures, SharedClip
from hspace_exp.evaluation.judged import Observers, PersonMasks
from hspace_exp.evaluation.judges import PHOTO_TEXTS, PLAIN, ProbeJudge, ZeroShotJudge, with_wordings
from hspace_exp.evaluation.metrics.base import ImageMetric
from hspace_exp.evaluation.openclip import load_open_clip, load_published
from hspace_exp.evaluation.value import MetricValue
from hspace_exp.evaluation.world import is_labelled, labelled_renders, mask_ious, world_truth
from hspace_exp.generation.manifest import Pair
from hspace_exp.masks import MaskProvider
from hspace_exp.masks.sam import segment
from hspace_exp.masks.small_sam import load_small_sam
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import Group

# Portraits of the embedded world are framed alike; shares of the side: x0, y0, x1, y1, and points down the middle.
PORTRAIT_BOX = (0.17, 0.075, 0.89, 1.0)
PORTRAIT_POINTS = ((0.5, 0.42), (0.5, 0.7), (0.5, 0.92))

# Images whose attention still fits a CPU's cache.
CACHED = 8

# attribute → value → text, of attributes that a judge does not know by itself.
Texts = Mapping[str, Mapping[str, str]]


class Evaluator(Protocol):
    """Measures the images of runs. An evaluator of one's own is any class with these two."""

    distribution_features: ImageFeatures

    def __call__(
        self,
        pairs: Sequence[Pair],
        attribute: str,
        seed: int = 0,
        parts: Sequence[str] = (),
        texts: Texts | None = None,
        unknown_fields: Collection[str] = (),
    ) -> Evaluation:
        """Measure pairs of images.

        Args:
            pairs: to measure.
            attribute: what was steered.
            seed: varies the resampling.
            parts: the attributes that it is a composition of.
            texts: attribute → value → text, to judge attributes by that the judge does not know.
            unknown_fields: see ``evaluate``.
        """


def sam_person_masks(folder: Path, device: str) -> PersonMasks:
    """Person masks of portraits by the small SAM, asked with the usual frame and points of a portrait."""
    sam = load_small_sam(folder).to(device)

    def masks(images: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 images to (B, 1, H, W) masks."""
        height, width = images.shape[1:3]
        size = torch.tensor([width, height], dtype=torch.float32)
        box, points = torch.tensor(PORTRAIT_BOX) * size.repeat(2), torch.tensor(PORTRAIT_POINTS) * size
        some = len(images) if sam.device.type == "cuda" else CACHED
        return torch.cat(
            [
                segment(sam, few, box.expand(len(few), -1), points.expand(len(few), -1, -1)).cpu()
                for few in images.split(max(1, some))
            ]
        )

    return masks


class AvatarEvaluator:
    """The embedded world's zero-shot judge, the supervised probe beside it, SAM for backgrounds, and the truth."""

    def __init__(
        self,
        weights: str | Path,
        metrics: Mapping[str, ImageMetric],
        *,
        labelled: int = COUNT,
        margin: float = 0.0,
        features: ImageFeatures | None = None,
        repeats: int = 1000,
        device: str = "cpu",
        batch_size: int | None = None,
    ) -> None:
        """Load everything, so that a missing file is found out before anything is made.

        Args:
            weights: folder with ``clip``, ``sam`` and ``probe.safetensors``.
            metrics: by name; those of conf/metric.
            labelled: renders of known truth for ``classifier_accuracy``, at most 216; 0 leaves it out.
            margin: lead in cosine below which an image is unclear to the zero-shot judge.
            features: for distances of distributions, e.g. `InceptionFeatures`; None takes the OpenCLIP model's.
            repeats: bootstrap resamples.
            device: where models run.
            batch_size: pairs at once; None picks 32 on a CPU, 128 elsewhere.
        """
        if not 0 <= labelled <= COUNT:
            raise UserError(f"expected evaluator.labelled between 0 and {COUNT}, got {labelled}")
        if repeats < 0:
            raise UserError(f"expected evaluator.repeats of at least 0, got {repeats}")
        folder = Path(weights)
        self.clip = SharedClip(load_open_clip(folder / "clip", device))
        self.distribution_features: ImageFeatures = features or OpenClipFeatures(self.clip)
        self.judge = ZeroShotJudge(self.clip, judge_texts(), margin=margin)
        self.probe = ProbeJudge(load_probe(folder).to(device), PROBED, device=device)
        self.person_masks = sam_person_masks(folder / "sam", device)
        self.metrics, self.labelled, self.repeats, self.device = metrics, labelled, repeats, device
        self.batch_size = batch_size or (32 if torch.device(device).type == "cpu" else 128)

    def mask_metrics(
        self, provider: MaskProvider, backbone: Backbone, groups: Sequence[Group]
    ) -> dict[str, MetricValue]:
        """``mask_iou`` of attribute maps, measured on renders whose parts are known exactly."""
        return mask_ious(provider, backbone, groups)

    def __call__(
        self,
        pairs: Sequence[Pair],
        attribute: str,
        seed: int = 0,
        parts: Sequence[str] = (),
        texts: Texts | None = None,
        unknown_fields: Collection[str] = (),
    ) -> Evaluation:
        """Measure pairs of images, see `Evaluator`; of attributes of one's own there is neither probe nor truth."""
        names = list(parts or [attribute])
        known, judge = is_labelled(names), self.judge.knowing(texts or {})
        judges = (judge, self.probe) if known else (judge,)
        return evaluate(
            pairs,
            self.metrics,
            Observers(judges, self.clip, self.distribution_features, self.person_masks, self.device),
            attribute=attribute,
            parts=parts,
            truth=world_truth(*names) if set(names) <= set(SKEWED) else None,
            labelled=labelled_renders(names, self.labelled) if self.labelled and known else None,
            unknown_fields=unknown_fields,
            batch_size=self.batch_size,
            repeats=self.repeats,
            seed=seed,
        )


class PhotoEvaluator:
    """A published OpenCLIP model as zero-shot judge of photographs, for alignment and for features."""

    def __init__(
        self,
        model: str,
        weights: str,
        metrics: Mapping[str, ImageMetric],
        *,
        wordings: Sequence[str] = (PLAIN + "{}",),
        margin: float = 0.0,
        features: ImageFeatures | None = None,
        person_masks: PersonMasks | None = None,
        cache_dir: str | Path | None = None,
        repeats: int = 1000,
        device: str = "cpu",
        batch_size: int = 16,
    ) -> None:
        """Load the model, from the hub or a file.

        Args:
            model: OpenCLIP's name of the architecture, e.g. ``ViT-B-32``.
            weights: OpenCLIP's name of the weights, or a local file.
            metrics: by name; those of conf/metric.
            wordings: of the judge's texts; several make a prompt ensemble.
            margin: lead in cosine below which an image is unclear.
            features: for distances of distributions, e.g. `InceptionFeatures`; None takes the OpenCLIP model's.
            person_masks: finds persons, e.g. `PersonSegmenter`; None leaves backgrounds out.
            cache_dir: keeps image features, by what is in the image; None keeps none.
            repeats: bootstrap resamples.
            device: where the model runs.
            batch_size: pairs at once.
        """
        clip = load_published(model, weights, device)
        self.cached: CachedClip | None = None
        if cache_dir is not None:
            self.cached = CachedClip(clip, Path(cache_dir) / "image_features" / weights_hash(clip.model))
        self.clip = SharedClip(self.cached or clip)
        self.judge = ZeroShotJudge(self.clip, with_wordings(PHOTO_TEXTS, wordings), margin=margin)
        self.wordings, self.person_masks, self.metrics = wordings, person_masks, metrics
        self.distribution_features: ImageFeatures = features or OpenClipFeatures(self.clip)
        self.repeats, self.device, self.batch_size = repeats, device, batch_size

    def __call__(
        self,
        pairs: Sequence[Pair],
        attribute: str,
        seed: int = 0,
        parts: Sequence[str] = (),
        texts: Texts | None = None,
        unknown_fields: Collection[str] = (),
    ) -> Evaluation:
        """Measure pairs of images, see `Evaluator`."""
        judge = self.judge.knowing(with_wordings(texts or {}, self.wordings))
        found = evaluate(
            pairs,
            self.metrics,
            Observers((judge,), self.clip, self.distribution_features, self.person_masks, self.device),
            attribute=attribute,
            parts=parts,
            unknown_fields=unknown_fields,
            batch_size=self.batch_size,
            repeats=self.repeats,
            seed=seed,
        )
        if self.cached is not None:
            self.cached.save()
        return found
