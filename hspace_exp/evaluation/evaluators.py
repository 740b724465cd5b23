"""Ready-made evaluations: which judges, features, masks and metrics look at the images of which world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from hspace_exp.avatars.labelled import COUNT
from hspace_exp.avatars.probe import ATTRIBUTES as PROBED
from hspace_exp.avatars.probe import load_probe
from hspace_exp.avatars.world import ATTRIBUTES, SKEWED, judge_texts
from hspace_exp.evaluation.evaluate import Evaluation, evaluate
from hspace_exp.evaluation.features import ImageFeatures, OpenClipFeatures, SharedClip, load_open_clip, load_published
from hspace_exp.evaluation.judged import Observers, PersonMasks
from hspace_exp.evaluation.judges import PHOTO_TEXTS, PLAIN, Judge, ProbeJudge, ZeroShotJudge, with_wordings
from hspace_exp.evaluation.metrics.base import ImageMetric, Setting
from hspace_exp.evaluation.world import labelled_renders, mask_ious, world_truth
from hspace_exp.generation.manifest import Pair
from hspace_exp.masks.sam import load_small_sam, segment

# Portraits of the embedded world are framed alike; shares of the side: x0, y0, x1, y1, and points down the middle.
PORTRAIT_BOX = (0.17, 0.075, 0.89, 1.0)
PORTRAIT_POINTS = ((0.5, 0.42), (0.5, 0.7), (0.5, 0.92))

# Images whose attention still fits a CPU's cache.
CACHED = 8

# attribute → value → text, of attributes that a judge does not know by itself.
Texts = Mapping[str, Mapping[str, str]]
Margin = Annotated[float, Field(ge=0)]


class Evaluator:
    """Measures the images of runs. One of your own derives from it, or is anything that can be called like it.

    It may have a method ``mask_metrics`` as that of `AvatarEvaluator`, for methods that use attribute maps.
    """

    def __init__(
        self,
        judge: ZeroShotJudge,
        metrics: Mapping[str, ImageMetric],
        *,
        features: ImageFeatures | None = None,
        person_masks: PersonMasks | None = None,
        repeats: int = 1000,
        device: str = "cpu",
        batch_size: int = 16,
    ) -> None:
        """Take what looks at images.

        Args:
            judge: the first judge, whose image-text model is asked for alignment as well.
            metrics: by name; those of conf/metric.
            features: for distances of distributions, e.g. `InceptionFeatures`; None takes the OpenCLIP model's.
            person_masks: finds persons, e.g. `PersonSegmenter`; None leaves backgrounds out.
            repeats: bootstrap resamples.
            device: where models run.
            batch_size: pairs at once.
        """
        self.judge, self.metrics, self.batch_size = judge, metrics, batch_size
        self.repeats = Setting(repeats=repeats).repeats  # which is checked there
        self.distribution_features = features or OpenClipFeatures(judge.clip)
        self.observers = Observers((judge,), judge.clip, self.distribution_features, person_masks, device)

    def judges(self, names: Sequence[str], texts: Texts) -> tuple[Judge, ...]:
        """Who judges attributes of these names; ``texts`` are of attributes that a judge does not know by itself."""
        return (self.judge.knowing(texts),)

    def knowledge(self, names: Sequence[str]) -> dict[str, Any]:
        """What is known of the world of images about these attributes: ``truth`` and ``labelled`` of ``evaluate``."""
        return {}

    def __call__(
        self,
        pairs: Sequence[Pair],
        attribute: str,
        *,
        parts: Sequence[str] = (),
        texts: Texts | None = None,
        **options: Any,
    ) -> Evaluation:
        """Measure pairs of images.

        ``attribute`` is what was steered, ``parts`` the attributes that it is a composition of. A judge tells
        attributes that it does not know apart by ``texts``: attribute → value → text. ``options`` are ``seed`` and
        ``unknown_fields`` of ``evaluate``.
        """
        names = list(parts or [attribute])
        return evaluate(
            pairs,
            self.metrics,
            replace(self.observers, judges=self.judges(names, texts or {})),
            attribute=attribute,
            parts=parts,
            batch_size=self.batch_size,
            repeats=self.repeats,
            **self.knowledge(names),
            **options,
        )


def sam_person_masks(folder: Path, device: str) -> PersonMasks:
    """Person masks of portraits by the small SAM, asked with the usual frame and points of a portrait."""
    sam = load_small_sam(folder).to(device)

    def masks(images: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 images to (B, 1, H, W) masks."""
        height, width = images.shape[1:3]
        size = torch.tensor([width, height], dtype=torch.float32)
        box, points = torch.tensor(PORTRAIT_BOX) * size.repeat(2), torch.tensor(PORTRAIT_POINTS) * size
        portraits = images.split(max(1, len(images) if sam.device.type == "cuda" else CACHED))
        found = [segment(sam, some, box.expand(len(some), -1), points.expand(len(some), -1, -1)) for some in portraits]
        return torch.cat(found).cpu()

    return masks


class AvatarEvaluator(Evaluator):
    """The embedded world's zero-shot judge, the supervised probe beside it, SAM for backgrounds, and the truth."""

    def __init__(
        self,
        weights: str | Path,
        metrics: Mapping[str, ImageMetric],
        *,
        labelled: Annotated[int, Field(ge=0, le=COUNT)] = COUNT,
        margin: Margin = 0.0,
        device: str = "cpu",
        batch_size: int | None = None,
        **options: Any,
    ) -> None:
        """Load everything, so that a missing file is found out before anything is made.

        The folder ``weights`` has ``clip``, ``sam`` and ``probe.safetensors``. So many ``labelled`` renders of known
        truth give ``classifier_accuracy``; 0 leaves it out. An image is unclear to the zero-shot judge below a lead of
        ``margin`` in cosine. A ``batch_size`` of None is 32 pairs on a CPU, 128 elsewhere; ``options`` are ``features``
        and ``repeats`` of `Evaluator`.
        """
        folder = Path(weights)
        clip = SharedClip(load_open_clip(folder / "clip", device))
        judge = ZeroShotJudge(clip, judge_texts(), margin=margin)
        self.probe = ProbeJudge(load_probe(folder).to(device), PROBED, device=device)
        self.labelled = labelled
        options |= {"person_masks": sam_person_masks(folder / "sam", device), "device": device}
        options["batch_size"] = batch_size or (32 if torch.device(device).type == "cpu" else 128)
        super().__init__(judge, metrics, **options)

    mask_metrics = staticmethod(mask_ious)

    def judges(self, names: Sequence[str], texts: Texts) -> tuple[Judge, ...]:
        """The probe is the second judge of attributes that it was trained on."""
        judge = self.judge.knowing(texts)
        return (judge, self.probe) if set(names) <= set(ATTRIBUTES) else (judge,)

    def knowledge(self, names: Sequence[str]) -> dict[str, Any]:
        """The world's probabilities and labelled renders; of attributes of one's own there are none."""
        labelled = labelled_renders(names, self.labelled) if self.labelled and set(names) <= set(ATTRIBUTES) else None
        return {"truth": world_truth(*names) if set(names) <= set(SKEWED) else None, "labelled": labelled}


class PhotoEvaluator(Evaluator):
    """A published OpenCLIP model as zero-shot judge of photographs, for alignment and for features."""

    def __init__(
        self,
        model: str,
        weights: str,
        metrics: Mapping[str, ImageMetric],
        *,
        wordings: Annotated[Sequence[str], Field(min_length=1)] = (PLAIN + "{}",),
        margin: Margin = 0.0,
        device: str = "cpu",
        **options: Any,
    ) -> None:
        """Load the model, from the hub or a file.

        Model is OpenCLIP's name of the architecture, e.g. ``ViT-B-32``, weights its name of these, or a local file.
        Several ``wordings`` of the judge's texts make a prompt ensemble; below a lead of ``margin`` in cosine an image
        is unclear. ``options`` are ``features``, ``person_masks``, ``repeats`` and ``batch_size`` of `Evaluator`.
        """
        clip, self.wordings = SharedClip(load_published(model, weights, device)), wordings
        judge = ZeroShotJudge(clip, with_wordings(PHOTO_TEXTS, wordings), margin=margin)
        super().__init__(judge, metrics, device=device, **options)

    def judges(self, names: Sequence[str], texts: Texts) -> tuple[Judge, ...]:
        """Texts of one's own come in the same wordings."""
        return (self.judge.knowing(with_wordings(texts, self.wordings)),)
