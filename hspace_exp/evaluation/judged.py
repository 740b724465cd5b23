"""A batch of images and everything that was found out about it, which metrics take what they need from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
import yaml
from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.evaluation.features import ImageFeatures, ImageTextModel
from hspace_exp.evaluation.functional.content import background_mask
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

OPTIONAL: dict[str, str] = yaml.safe_load(Path(__file__).with_name("judged.yaml").read_text("utf-8"))


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


def judged_batch(
    batch: Sequence[Pair],
    observers: Observers,
    attribute: str,
    parts: Sequence[str],
    professions: Sequence[str],
    needed: Collection[str],
) -> dict[str, JudgedBatch]:
    """Load the images of a batch and look at them; judge → what it sees. Images of one file are looked at once.

    The judges know the attribute. Of ``OPTIONAL`` only what is ``needed`` by some metric is worked out;
    ``professions`` are the names of the groups.
    """
    clip, device, attributes = observers.clip, observers.device, observers.judges[0].attributes
    files = [[pair.original for pair in batch], [pair.edited for pair in batch]]
    pixels = [load_images(some) for some in (files if files[0] != files[1] else files[:1])]
    images = [as_float(some.to(device)) for some in pixels]  # the unedited and the edited ones, where these are others
    seen = [{judge.name: judge.judge(some) for judge in observers.judges} for some in images]
    found: dict[str, Tensor] = {}
    if "features" in needed:
        features = [observers.features(some).cpu() for some in images]
        found |= {"features_original": features[0], "features_edited": features[-1]}
    if "texts" in needed:
        found["image"] = clip.encode_images(images[-1]).cpu()
        texts = {"prompt": [pair.prompt for pair in batch]}
        texts["subject"] = [subject_prompt(pair.profession) for pair in batch]
        for name, some in texts.items():
            there = torch.tensor([bool(text) for text in some])[:, None]
            found[name] = torch.where(there, clip.encode_texts(some).cpu(), torch.nan)
    if "background" in needed and len(images) == 1:  # all of it: nothing differs, wherever the persons are
        found["background"] = torch.ones_like(images[0][:, :1], dtype=torch.bool)
    elif "background" in needed:
        masks = known(observers.person_masks)
        found["background"] = background_mask(masks(pixels[0]).to(device), masks(pixels[1]).to(device))
    targets = [attributes[attribute].index(pair.target) if pair.target else NO_TARGET for pair in batch]
    first = JudgedBatch(
        keys=item_keys([pair.name for pair in batch]),
        groups=torch.tensor([professions.index(pair.profession) for pair in batch]),
        targets=torch.tensor(targets),
        original=images[0],
        edited=images[-1],
        attribute=attribute,
        parts={part: len(attributes[part]) for part in parts},
        others=tuple(name for name in attributes if name not in (attribute, *parts)),
        before={},
        after={},
        **found,
    )
    return {name: replace(first, before=before, after=seen[-1][name]) for name, before in seen[0].items()}
