"""Attribute maps: where in an image an attribute is, one provider a file.

A provider is any object with the members of ``MaskProvider``; its YAML in ``conf/mask/`` names the class as
``_target_`` and its arguments. A map says where an image presents an attribute (for gender: hair and facial hair); it
says nothing about the people shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from hspace_exp.models.backbone import Backbone

Heat = Literal["attention", "difference"]  # see ``masks.heat``


class MaskProvider(Protocol):
    """Makes attribute maps of images; says beforehand what it needs for that."""

    @property
    def heat(self) -> Heat | None:
        """The kind that it needs; None where it needs none."""

    def maps(self, images: Tensor, heatmaps: Tensor | None = None) -> Tensor:
        """Attribute maps of a batch, (B, 1, S, S) float32 in [0, 1] on the images' device.

        Of (B, S, S, 3) uint8 images and (B, 1, h, w) heatmaps of the kind ``heat``, any scale; None where ``heat`` is.
        """


@runtime_checkable
class ImageMaker(Protocol):
    """A provider that makes the images of a concept (x+) itself and knows their maps; ``maps`` is then not asked."""

    def make_images(
        self, backbone: Backbone, attribute: str, concept: str, part: str, indices: Sequence[int], image_seed: int
    ) -> Mapping[str, Tensor]:
        """Images of a concept, e.g. ``female`` of ``gender``, by index; a pure function of its arguments.

        The backbone's autoencoder encodes them; ``part`` is what the maps are of, as the attribute's file says. Gives
        ``latents`` (B, C, H, W) float32, scaled, and ``exact`` (B, 1, S, S) maps in [0, 1].
        """
