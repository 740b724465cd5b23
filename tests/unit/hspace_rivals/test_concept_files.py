"""Methods that learn nothing, asked for by the concept files of others: `generate` takes them, a pipeline does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
import torch

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError
from hspace_exp.generation.generate import sample_chunk
from hspace_exp.generation.request import asked_groups, configured, edit_of
from hspace_exp.generation.steer import steer
from hspace_exp.models.backbone import Backbone, load_backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.prompts.plan import Item

NEUTRAL = "a photo of a person"
ITEMS = [Item("a photo of a nurse", "nurse", 0, "male"), Item("a photo of a nurse", "nurse", 1, "")]


def concepts(backbone: Backbone) -> dict[str, Concept]:
    made = {}
    for name, word in {"female": "woman", "male": "man"}.items():
        prompts = {"positive": f"a photo of a {word}", "neutral": NEUTRAL, "words": word, "adjective": name}
        of = ("tiny", "r", backbone.h_shape, "sdid", prompts)
        made[name] = Concept(torch.ones(backbone.h_shape), name, "gender", *of)
    return made


SMALLER = {
    "uce": ("method.edit.professions=[nurse,CEO]",),
    "fair_diffusion": ("method.edit.warm_up=0.0",),
    "equisteer": ("method.edit.noises=1", "method.edit.steps=2", "method.edit.gate=null"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers, of its own
@pytest.mark.parametrize("family", ["sdxl", "pixart"])
@pytest.mark.parametrize(("method", "smaller"), SMALLER.items())
@torch.no_grad()
def test_other_families_are_edited_too(
    method: str, smaller: tuple[str, ...], family: str, tiny_family: Callable[[str], Path]
) -> None:
    backbone = load_backbone(tiny_family(family), device="cpu")
    own = concepts(backbone)
    edit = edit_of(configured(method, "none", smaller), own, asked_groups(own, []), {"male": 2.0})
    found, plain = (sample_chunk(backbone, Sampling(2), ITEMS, 0, some) for some in (edit, None))
    assert (found[0] - plain[0]).abs().max() > 1e-5
    assert torch.equal(found[1], plain[1])


@pytest.mark.parametrize(("method", "smaller"), SMALLER.items())
def test_files_say_only_which_prompts_are_meant(
    method: str, smaller: tuple[str, ...], tiny_backbone: Backbone, tiny_folder: Path
) -> None:
    own = concepts(tiny_backbone)
    way, groups = configured(method, "none", smaller), asked_groups(own, [])
    found, twice, plain = (
        sample_chunk(tiny_backbone, Sampling(2), ITEMS, 0, edit)
        for edit in (*(edit_of(way, own, groups, {"male": strength}) for strength in (1.0, 2.0)), None)
    )
    assert min((found[0] - plain[0]).abs().max(), (found[0] - twice[0]).abs().max()) > 1e-4
    assert torch.equal(found[1], plain[1])
    pipe = diffusers.DiffusionPipeline.from_pretrained(tiny_folder)
    pipe.set_progress_bar_config(disable=True)
    with steer(pipe, [(own["male"], 1.0)], method=method), pytest.raises(UserError, match="say generate"):
        pipe("a photo of a nurse", num_inference_steps=2)
