"""The focused edit with foresight: what needs nothing is left to the bit, what needs it moves inside the gate."""

from typing import Any

import pytest
import torch

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError
from hspace_exp.generation.generate import sample_chunk
from hspace_exp.methods.base import Method
from hspace_exp.methods.focused import Focus
from hspace_exp.methods.frequency import LowFrequency, haar_lowpass
from hspace_exp.methods.steering import Edit, UneditedRuns, unedited
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.plan import Item

SAMPLING = Sampling(4, lambda scheduler: make_scheduler(scheduler, "native"), chunk_size=8)
PROMPTS = {
    "female": ConceptPrompts(positive="a photo of a woman", neutral="a photo of a person", words="woman"),
    "male": ConceptPrompts(positive="a photo of a man", neutral="a photo of a person", words="man"),
}


def items(*targets: str) -> list[Item]:
    return [Item("a photo of a nurse", "nurse", i, target) for i, target in enumerate(targets)]


def concepts(backbone: Backbone) -> dict[str, Concept]:
    made = {}
    for seed, name in enumerate(PROMPTS):
        random = torch.Generator().manual_seed(seed)
        vector, presence = (torch.randn(backbone.h_shape, generator=random) for _ in range(2))
        of = (backbone.name, backbone.revision, backbone.h_shape, "focused")
        made[name] = Concept(vector, name, "gender", *of, presence=presence)
    return made


def edit(
    backbone: Backbone,
    strength: float = 4.0,
    frequency: LowFrequency | None = None,
    stop: float = 1.0,
    runs: UneditedRuns | None = None,
    **parts: object,
) -> Edit:
    focus = Focus(**{"foresight": True, "release": True, "adaptive": False, "keep": 0.0, **parts})  # type: ignore[arg-type]
    method = Method("focused", strength, "conditional", edit=focus, window=(0.0, stop))
    return method.apply(PROMPTS, concepts(backbone), frequency=frequency, runs=runs)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each call of the U-Net from now on."""
    found: list[int] = []
    predict = Backbone.predict

    def counted(self: Backbone, latents: torch.Tensor, *rest: Any) -> torch.Tensor:
        found.append(len(latents))
        return predict(self, latents, *rest)

    monkeypatch.setattr(Backbone, "predict", counted)
    return found


def images(backbone: Backbone, steered: Edit | None, *targets: str) -> torch.Tensor:
    return sample_chunk(backbone, SAMPLING, items(*targets), 0, steered)


def test_what_is_asked_for_nothing_is_left_alone_to_the_bit(tiny_backbone: Backbone) -> None:
    plain = images(tiny_backbone, None, "", "", "")
    mixed = images(tiny_backbone, edit(tiny_backbone), "", "female", "")
    assert torch.equal(mixed[[0, 2]], plain[[0, 2]])
    assert (mixed[1] - plain[1]).abs().max() > 1e-3


def test_what_shows_its_target_already_is_left_alone_to_the_bit(tiny_backbone: Backbone) -> None:
    own = edit(tiny_backbone, adaptive=True, sharpness=1e6)
    plain = images(tiny_backbone, None, *[""] * 4)
    asked = [images(tiny_backbone, own, *[name] * 4) for name in PROMPTS]
    same = torch.stack([(some == plain).flatten(1).all(1) for some in asked])
    assert (same.sum(0) == 1).all()  # with two values, each image shows one of them


def test_without_strength_nothing_changes(tiny_backbone: Backbone) -> None:
    plain = images(tiny_backbone, None, "", "")
    nothing = images(tiny_backbone, edit(tiny_backbone, 0.0), "female", "male")
    torch.testing.assert_close(nothing, plain, rtol=1e-4, atol=1e-4)


def test_an_image_does_not_depend_on_its_batch(tiny_backbone: Backbone) -> None:
    steered = edit(tiny_backbone)
    both = images(tiny_backbone, steered, "female", "male")
    torch.testing.assert_close(images(tiny_backbone, steered, "female"), both[:1], rtol=1e-4, atol=1e-4)


def test_held_wholly_and_released_differ_after_the_window_only(tiny_backbone: Backbone) -> None:
    ways = {
        (release, stop): images(tiny_backbone, edit(tiny_backbone, stop=stop, release=release), "female", "male")
        for release in (True, False)
        for stop in (0.5, 1.0)
    }
    assert torch.equal(ways[True, 1.0], ways[False, 1.0])
    assert (ways[True, 0.5] - ways[False, 0.5]).abs().max() > 1e-4


def test_a_low_frequency_term_acts_on_top(tiny_backbone: Backbone) -> None:
    low = LowFrequency(2.0, "original", haar_lowpass)
    without = images(tiny_backbone, edit(tiny_backbone), "female", "")
    found = images(tiny_backbone, edit(tiny_backbone, frequency=low), "female", "")
    assert (found[0] - without[0]).abs().max() > 1e-4
    assert torch.equal(found[1], without[1])


@pytest.mark.parametrize("adaptive", [True, False])
def test_kept_unedited_runs_change_no_bit_and_are_sampled_once(
    tiny_backbone: Backbone, passes: list[int], adaptive: bool
) -> None:
    runs, targets = UneditedRuns(), ("female", "male", "", "female")
    for k, strength in enumerate((4.0, 1.0, 8.0)):
        passes.clear()
        alone = images(tiny_backbone, edit(tiny_backbone, strength, adaptive=adaptive), *targets)
        without = len(passes)
        passes.clear()
        found = images(tiny_backbone, edit(tiny_backbone, strength, adaptive=adaptive, runs=runs), *targets)
        assert torch.equal(found, alone)
        assert len(passes) == without - (4 if k else 0)  # four steps of the unedited run
    assert len(runs.kept) == len(targets)  # noises


def test_unedited_images_are_those_of_no_edit_and_their_run_is_not_made_again(
    tiny_backbone: Backbone, passes: list[int]
) -> None:
    asked, runs = items("female", "male", "", "female"), UneditedRuns()
    plain, alone = (images(tiny_backbone, how, "female", "male", "", "female") for how in (None, edit(tiny_backbone)))
    for kept, count in ((runs, 4), (UneditedRuns(full=True), 8)):
        passes.clear()  # four steps a run; the edited one has three samples
        steered = edit(tiny_backbone, runs=kept)
        assert torch.equal(sample_chunk(tiny_backbone, SAMPLING, asked, 0, unedited(steered)), plain)
        assert torch.equal(sample_chunk(tiny_backbone, SAMPLING, asked, 0, steered), alone)
        assert passes == [8] * count + [6] * 4


def test_hooks_are_gone_afterwards(tiny_backbone: Backbone) -> None:
    images(tiny_backbone, edit(tiny_backbone), "female")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in tiny_backbone.unet.modules())


def test_wrong_settings_and_targets_are_told(tiny_backbone: Backbone) -> None:
    with pytest.raises(UserError, match="release needs foresight"):
        Focus(release=True)
    steered = edit(tiny_backbone)
    with pytest.raises(UserError, match="Did you mean 'female'"):
        images(tiny_backbone, steered, "femal")
