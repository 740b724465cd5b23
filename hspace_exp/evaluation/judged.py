"""A batch of images and everything that was found out about it, which metrics take what they need from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.evaluation.features import ImageFeatures, ImageTextModel
from hspace_exp.evaluation.functional.background import background_mask
from hspace_exp.evaluation.functional.fairness import part_of
from hspace_exp.evaluation.judges import Judge
from hspace_exp.generation.manifest import Pair
from hspace_exp.io.images import as_float, load_images
from hspace_exp.io.seeding import seed_of

# (B, H, W, 3) uint8 images → (B, 1, H, W) mask of the person, bool or in [0, 1].
PersonMasks = Callable[[Tensor], Tensor]
# attribute → (B,) classes, negative where unclear.
Classes = Mapping[str, Tensor]
T = TypeVar("T")

NO_TARGET = -1
EVERYTHING = "all"  # the profession of images of which none is known

# What metrics may need that not every evaluation knows.
OPTIONAL = {
    "before": "unedited partners of the images",
    "background": "masks of persons in both images",
    "texts": "prompts of the images, and features of images and texts",
    "features": "features for distances between sets of images",
    "truth": "probabilities of the values in the data",
    "margin": "a judge that may call an image unclear",
    "scene": "a judge that tells scenes apart",
    "others": "a judge that knows other attributes",
    "parts": "a composition of several attributes",
    "choices": "images of which not all are asked for one and the same value",
}


def item_keys(names: Sequence[str]) -> Tensor:
    """(N,) int64 keys of images from what makes them unique, e.g. profession, prompt, seed index and target."""
    return torch.tensor([seed_of(name) for name in names], dtype=torch.int64)


def known(found: T | None) -> T:
    """What a metric needs, and so what is there.

    Raises UserError: it is not there, as the metric's ``needs`` do not name it.
    """
    if found is None:
        raise UserError(f"a metric uses a field of the batch that its `needs` do not name: {', '.join(OPTIONAL)}")
    return found


@dataclass(frozen=True)
class JudgedBatch:
    """One batch of pairs of images, as one judge sees it; B rows each."""

    keys: Tensor  # (B,) int64 keys of the images
    groups: Tensor  # (B,) number of the profession
    targets: Tensor  # (B,) class asked for, ``NO_TARGET`` where none was
    original: Tensor  # (B, 3, H, W) unedited images in [0, 1]
    edited: Tensor  # (B, 3, H, W) edited images in [0, 1]; the very same tensor where nothing was edited
    attribute: str  # what was steered
    parts: Mapping[str, int]  # the attributes that it is a composition of → their number of values; else empty
    others: tuple[str, ...]  # further attributes that the judge knows
    before: Classes  # attribute → (B,) classes of the unedited images, negative where unclear
    after: Classes  # the same of the edited images
    background: Tensor | None = None  # (B, 1, H, W) bool outside the persons of both, or None
    image: Tensor | None = None  # (B, D) image-text features of the edited images, or None
    prompt: Tensor | None = None  # (B, D) features of their prompts, NaN where one has none, or None
    # (B, D) features of the plain prompts of their professions, NaN where one has none, or None
    subject: Tensor | None = None
    features_original: Tensor | None = None  # (B, F) features for Fréchet and kernel distances, or None
    features_edited: Tensor | None = None  # the same of the edited images

    @property
    def classes(self) -> Tensor:
        """(B,) classes of the attribute in the edited images."""
        return self.after[self.attribute]

    def of_part(self, part: str) -> JudgedBatch:
        """The same batch, with one attribute of the composition as what was steered."""
        names, sizes = list(self.parts), tuple(self.parts.values())
        return replace(self, attribute=part, targets=part_of(self.targets, names.index(part), sizes))


def subject_prompt(profession: str) -> str:
    """The plain prompt of a profession, e.g. "a photo of an attendant"; "" where none is known."""
    name = profession.lower()
    return "" if profession == EVERYTHING else f"a photo of {'an' if name[0] in 'aeiou' else 'a'} {name}"


@dataclass(frozen=True)
class Observers:
    """What looks at images."""

    # classify images; the first decides, the second repeats the metrics of fairness. Give a zero-shot judge the
    # `SharedClip` that is ``clip``, and images are embedded once.
    judges: tuple[Judge, ...]
    clip: ImageTextModel  # for alignment with texts
    features: ImageFeatures  # for Fréchet and kernel distances
    person_masks: PersonMasks | None = None  # finds persons; None leaves backgrounds out
    device: str | torch.device = "cpu"  # where images are compared


@dataclass(frozen=True)
class BatchJudge:
    """Turns batches of pairs into what metrics see, by observers with judges that know the attribute.

    Of ``OPTIONAL`` only what is ``needed`` by some metric is worked out; ``professions`` are the names of the groups.
    """

    observers: Observers
    attribute: str
    parts: Sequence[str]
    professions: Sequence[str]
    needed: Collection[str]

    def __call__(self, batch: Sequence[Pair]) -> dict[str, JudgedBatch]:
        """Load the images of a batch and look at them; judge → what it sees. Images of one file are looked at once."""
        clip, known_values = self.observers.clip, self.observers.judges[0].attributes
        values = known_values[self.attribute]
        unedited = all(pair.original == pair.edited for pair in batch)
        pixels_before = load_images([pair.original for pair in batch])
        pixels_after = pixels_before if unedited else load_images([pair.edited for pair in batch])
        original, before, features = self._look(pixels_before)
        found: dict[str, Tensor | None] = {"features_original": features}
        edited, after, found["features_edited"] = (original, before, features) if unedited else self._look(pixels_after)
        if "texts" in self.needed:
            found["image"] = clip.encode_images(edited).cpu()
            texts = {"prompt": [pair.prompt for pair in batch]}
            texts["subject"] = [subject_prompt(pair.profession) for pair in batch]
            for name, some in texts.items():
                there = torch.tensor([bool(text) for text in some])[:, None]
                found[name] = torch.where(there, clip.encode_texts(some).cpu(), torch.nan)
        if "background" in self.needed:
            found["background"] = self._background(pixels_before, pixels_after, unedited)
        first = JudgedBatch(
            keys=item_keys([pair.name for pair in batch]),
            groups=torch.tensor([self.professions.index(pair.profession) for pair in batch]),
            targets=torch.tensor([values.index(pair.target) if pair.target else NO_TARGET for pair in batch]),
            original=original,
            edited=edited,
            attribute=self.attribute,
            parts={part: len(known_values[part]) for part in self.parts},
            others=tuple(name for name in known_values if name not in (self.attribute, *self.parts)),
            before={},
            after={},
            **found,
        )
        return {name: replace(first, before=before[name], after=after[name]) for name in before}

    def _look(self, pixels: Tensor) -> tuple[Tensor, dict[str, Classes], Tensor | None]:
        """Images as floats, each judge's classes, and the images' features."""
        images = as_float(pixels.to(self.observers.device))
        classes: dict[str, Classes] = {judge.name: judge.judge(images) for judge in self.observers.judges}
        return images, classes, self.observers.features(images).cpu() if "features" in self.needed else None

    def _background(self, original: Tensor, edited: Tensor, unedited: bool) -> Tensor:
        if unedited:  # nothing differs anywhere, so there is no need to know where the persons are
            return torch.ones(len(original), 1, *original.shape[1:3], dtype=torch.bool, device=self.observers.device)
        masks = known(self.observers.person_masks)
        before, after = (masks(images).to(self.observers.device) for images in (original, edited))
        return background_mask(before, after)
