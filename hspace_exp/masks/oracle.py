"""The true attribute map, known where images are rendered rather than generated."""

from __future__ import annotations

from torch import Tensor

from hspace_exp.errors import UserError
from hspace_exp.masks import check_images, require


class OracleMasks:
    """Hands on exact masks of rendered images (the embedded world only)."""

    heat = None
    needs_exact = True

    def maps(self, images: Tensor, heatmaps: Tensor | None = None, exact: Tensor | None = None) -> Tensor:
        """(B, 1, S, S) of zeros and ones."""
        check_images(images)
        exact = require(exact, images, "exact masks", "use mask=oracle with model=avatars, or mask=sam elsewhere")
        if tuple(exact.shape[-2:]) != tuple(images.shape[1:3]):
            raise UserError(f"expected exact masks of size {tuple(images.shape[1:3])}, got {tuple(exact.shape[-2:])}")
        return (exact > 0.5).float()
