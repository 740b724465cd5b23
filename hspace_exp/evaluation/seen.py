"""What is found out about a batch of pairs before any metric looks at it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from hspace_exp.evaluation.features import ImageFeatures, ImageTextModel, SharedClip
from hspace_exp.evaluation.functional.background import background_mask, masked_squared_error, pasted_ssim
from hspace_exp.evaluation.image_metric import item_keys
from hspace_exp.evaluation.judges import Judge
from hspace_exp.generation.manifest import Pair
from hspace_exp.io.images import as_float, load_images

# (B, H, W, 3) uint8 images → (B, 1, H, W) mask of the person, bool or in [0, 1].
PersonMasks = Callable[[Tensor], Tensor]

NO_TARGET = -1


@dataclass(frozen=True)
class PlaceErrors:
    """How a part of each image of a batch differs from the unedited one; (B,) float64 on the CPU each.

    Attributes:
        squared: sum of squared errors over the values of the part.
        count: number of those values.
        ssim: mean SSIM there, NaN where the part is empty.
    """

    squared: Tensor
    count: Tensor
    ssim: Tensor


@dataclass(frozen=True)
class Seen:
    """One batch of pairs and everything that was found out about it; B rows each.

    Attributes:
        keys: (B,) int64 keys of the images.
        groups: (B,) number of the profession.
        targets: (B,) class asked for, ``NO_TARGET`` where none was.
        original: (B, 3, H, W) unedited images in [0, 1].
        edited: (B, 3, H, W) edited images in [0, 1].
        background: (B, 1, H, W) bool outside the persons of both, or None.
        before: judge → attribute → (B,) classes of the unedited images.
        after: the same of the edited images.
        image: (B, D) image-text features of the edited images.
        prompt: (B, D) features of their prompts.
        subject: (B, D) features of the plain prompts of their professions.
        features_original: (B, F) features for Fréchet and kernel distances.
        features_edited: the same of the edited images.
    """

    keys: Tensor
    groups: Tensor
    targets: Tensor
    original: Tensor
    edited: Tensor
    background: Tensor | None
    before: Mapping[str, Mapping[str, Tensor]]
    after: Mapping[str, Mapping[str, Tensor]]
    image: Tensor
    prompt: Tensor
    subject: Tensor
    features_original: Tensor
    features_edited: Tensor

    @cached_property
    def places(self) -> tuple[PlaceErrors, PlaceErrors] | None:
        """What the edit did to the background and to the rest, worked out once; None without ``background``."""
        if self.background is None:
            return None
        where = self.background, ~self.background
        ssims = pasted_ssim(self.edited, self.original, where)
        errors = [masked_squared_error(self.edited, self.original, mask) for mask in where]
        background, subject = (
            PlaceErrors(error.cpu(), count.cpu(), ssim.cpu())
            for (error, count), ssim in zip(errors, ssims, strict=True)
        )
        return background, subject


def subject_prompt(profession: str) -> str:
    """The plain prompt of a profession, e.g. "a photo of an attendant"."""
    name = profession.lower()
    return f"a photo of {'an' if name[0] in 'aeiou' else 'a'} {name}"


class Looker:
    """Turns batches of pairs into what measures see."""

    def __init__(
        self,
        values: tuple[str, ...],
        professions: tuple[str, ...],
        judges: Sequence[Judge],
        clip: ImageTextModel,
        features: ImageFeatures,
        person_masks: PersonMasks | None,
        device: str | torch.device,
    ) -> None:
        """Take what looks at images.

        Args:
            values: values of the attribute, in class order.
            professions: names of the groups.
            judges: classify images.
            clip: for alignment with texts.
            features: for Fréchet and kernel distances.
            person_masks: finds persons; None leaves backgrounds out.
            device: where images are compared.
        """
        self.values, self.professions, self.judges = values, professions, judges
        self.clip, self.features = clip, features
        self.texts = clip if isinstance(clip, SharedClip) else SharedClip(clip)
        self.person_masks, self.device = person_masks, torch.device(device)

    def __call__(self, batch: Sequence[Pair]) -> Seen:
        """Load the images of a batch and look at them; images that are one file are looked at once."""
        unedited = all(pair.original == pair.edited for pair in batch)
        original = load_images([pair.original for pair in batch])
        edited = original if unedited else load_images([pair.edited for pair in batch])
        before_images = as_float(original.to(self.device))
        before = {judge.name: judge.judge(before_images) for judge in self.judges}
        features_before = self.features(before_images).cpu()
        if unedited:
            after_images, after, features_after = before_images, before, features_before
        else:
            after_images = as_float(edited.to(self.device))
            after = {judge.name: judge.judge(after_images) for judge in self.judges}
            features_after = self.features(after_images).cpu()
        targets = [self.values.index(pair.target) if pair.target else NO_TARGET for pair in batch]
        return Seen(
            keys=item_keys([pair.name for pair in batch]),
            groups=torch.tensor([self.professions.index(pair.profession) for pair in batch]),
            targets=torch.tensor(targets),
            original=before_images,
            edited=after_images,
            background=self._background(original, edited, unedited),
            before=before,
            after=after,
            image=self.clip.encode_images(after_images).cpu(),
            prompt=self.texts.encode_texts([pair.prompt for pair in batch]).cpu(),
            subject=self.texts.encode_texts([subject_prompt(pair.profession) for pair in batch]).cpu(),
            features_original=features_before,
            features_edited=features_after,
        )

    def _background(self, original: Tensor, edited: Tensor, unedited: bool) -> Tensor | None:
        if self.person_masks is None:
            return None
        if unedited:  # nothing differs anywhere, so there is no need to know where the persons are
            return torch.ones(len(original), 1, *original.shape[1:3], dtype=torch.bool, device=self.device)
        before, after = (self.person_masks(images).to(self.device) for images in (original, edited))
        return background_mask(before, after)
