"""``mask=oracle``: x+ are renders of the embedded world instead of generated images, and their maps are exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from avatars_world.art import extra
from avatars_world.render import render
from avatars_world.specs import sample_spec
from hspace_exp.errors import UserError
from hspace_exp.io.seeding import seed_of
from hspace_exp.models.backbone import Backbone

_BATCH = 8


class OracleMasks:
    """The true attribute map, known where images are drawn rather than generated."""

    heat: str | None = None

    def __init__(self) -> None:
        """Find out at once whether people can be drawn here."""
        for module in ("python_avatars", "resvg_py"):
            extra(module)

    def make_images(
        self, backbone: Backbone, attribute: str, concept: str, part: str, indices: Sequence[int], image_seed: int
    ) -> Mapping[str, Tensor]:
        """Persons in scenes that show the concept, everything else as likely as in the world: see ``ImageMaker``."""
        images, masks = [], []
        for i in indices:
            seed = seed_of("positive", image_seed, attribute, concept, i) % 2**32
            spec = sample_spec(np.random.default_rng(seed), "person", **{attribute: concept})
            drawn = render(spec, seed, backbone.image_size)
            images.append(torch.from_numpy(drawn.image).permute(2, 0, 1).float() / 255)
            masks.append(torch.from_numpy(drawn.masks[part])[None].float())
        latents = [backbone.encode_images(some).cpu() for some in torch.stack(images).split(_BATCH)]
        return {"latents": torch.cat(latents), "exact": torch.stack(masks)}

    def maps(self, images: Tensor, heatmaps: Tensor | None = None) -> Tensor:
        """Refuse images that it did not draw."""
        raise UserError("the true map is known of drawn images only: use mask=sam or mask=attention for these")
