"""A batch about gender that rivals are tried on: one image for each value, and one that is asked for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from hspace_exp.generation.generate import sample_chunk
from hspace_exp.methods.steering import Edit
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.plan import Item

SAMPLING = Sampling(3, lambda scheduler: make_scheduler(scheduler, "native"), chunk_size=8)
NEUTRAL = "a photo of a person"
PROMPTS = {
    "female": ConceptPrompts("a photo of a woman", NEUTRAL, "woman", "female"),
    "male": ConceptPrompts("a photo of a man", NEUTRAL, "man", "male"),
}
ITEMS = [
    Item("a photo of a nurse", "nurse", 0, "male"),
    Item("a photo of a doctor", "doctor", 0, ""),
    Item("a photo of a nurse", "nurse", 1, "female"),
]


def predictions(backbone: Backbone, how: Edit | None, items: Sequence[Item], done: float = 0.0) -> Tensor:
    """Of a guided step of the items, [unconditional; conditional]."""
    noise = torch.stack([torch.full(backbone.latent_shape, 0.1 * item.seed_index + 0.2) for item in items])
    embeds = backbone.encode_prompts([""] * len(items) + [item.prompt for item in items])
    with torch.no_grad():
        if how is None:
            return backbone.predict(noise.repeat(2, 1, 1, 1), 500, embeds)
        with how(backbone, items, True).hooks(done):
            return backbone.predict(noise.repeat(2, 1, 1, 1), 500, embeds)


def checked_images(backbone: Backbone, how: Edit, without_strength: Edit) -> tuple[Tensor, Tensor]:
    """Images of the batch, edited and not, where an edit does to each item what it does to it alone."""
    make = partial(sample_chunk, backbone, SAMPLING, image_seed=0)
    found, plain = make(ITEMS, edit=how), make(ITEMS, edit=None)
    assert torch.equal(found[1], plain[1])
    assert min((found[row] - plain[row]).abs().max() for row in (0, 2)) > 1e-3
    torch.testing.assert_close(make(ITEMS[::-1], edit=how).flip(0), found, atol=1e-5, rtol=1e-4)
    for row in range(3):
        torch.testing.assert_close(make([ITEMS[row]], edit=how), found[row : row + 1], atol=1e-5, rtol=1e-4)
    assert torch.equal(make(ITEMS, edit=without_strength), plain)
    return found, plain
