from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import Tensor, nn

from hspace_exp.errors import UserError
from hspace_exp.io.seeding import initial_noise
from hspace_exp.methods.base import Method
from hspace_exp.methods.frequency import LowFrequency, haar_lowpass
from hspace_exp.methods.steering import Edit
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.plan import Item
from hspace_rivals.fair_diffusion import FairDiffusion, edit_prompt, peaks
from tests.unit.hspace_rivals.batch import ITEMS, PROMPTS

TONES = {tone: ConceptPrompts(words=f"{tone}-skinned") for tone in ("light", "tan", "dark")}
SAMPLING = Sampling(4, lambda scheduler: make_scheduler(scheduler, "native"), chunk_size=8)


def edit_of(
    how: FairDiffusion | None = None,
    strength: float | dict[str, float] = 4.0,
    branch: str = "both",
    prompts: dict[str, ConceptPrompts] | None = None,
    **more: Any,
) -> Edit:
    given = {key: more.pop(key) for key in ("frequency", "scale") if key in more}
    method = Method("fair_diffusion", strength, branch, edit=how or FairDiffusion(), **more)
    return method.apply(prompts or PROMPTS, {}, **given)


class Toy(nn.Module):
    """Predicts tanh of latents, weighted by what the prompt says and by the time."""

    def __init__(self) -> None:
        """One weight."""
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.7))
        self.rows: list[int] = []

    def forward(
        self, latents: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, added_cond_kwargs: Any
    ) -> UNet2DConditionOutput:
        """As a U-Net of diffusers is called."""
        assert added_cond_kwargs is None
        assert len(latents) == len(timestep) == len(encoder_hidden_states)
        self.rows.append(len(latents))
        told = encoder_hidden_states.flatten(1)[:, : latents[0].numel()].reshape(latents.shape)
        return UNet2DConditionOutput(torch.tanh(latents * told + self.factor) + timestep[:, None, None, None] / 1000)


def called(toy: Toy, latents: Tensor, t: int, embeds: Tensor) -> np.ndarray[Any, Any]:
    """What the toy predicts, in double precision."""
    z, told = (x.double().numpy() for x in (latents, embeds.flatten(1)[:, : latents[0].numel()].reshape(latents.shape)))
    return np.tanh(z * told + toy.factor.item()) + t / 1000


def by_hand(psi: np.ndarray[Any, Any], threshold: float) -> np.ndarray[Any, Any]:
    """One direction of one sample, (C, H, W): a channel's sizes are sorted, its quantile is between two of them."""
    found = np.zeros_like(psi)
    for c, channel in enumerate(psi):
        sizes = sorted(abs(channel).ravel())
        place = threshold * (len(sizes) - 1)
        low = int(place)
        least = sizes[low] + (place - low) * (sizes[min(low + 1, len(sizes) - 1)] - sizes[low])
        for y, x in product(range(channel.shape[0]), range(channel.shape[1])):
            found[c, y, x] = channel[y, x] if abs(channel[y, x]) >= least - 1e-9 else 0.0
    return found


@pytest.mark.parametrize(("guided", "branch"), [(True, "both"), (True, "conditional"), (False, "both")])
def test_three_steps_are_those_of_the_formulas(tiny_backbone: Backbone, guided: bool, branch: str) -> None:
    backbone, toy = tiny_backbone, Toy()
    backbone.unet = toy
    how, strength = FairDiffusion(threshold=0.85, warm_up=0.3, momentum=0.5, decay=0.6), {"female": 3.0, "male": 5.0}
    steering = edit_of(how, strength, branch)(backbone, ITEMS, guided)
    draw, count = torch.Generator().manual_seed(0), len(ITEMS)
    conditional = backbone.encode_prompts([item.prompt for item in ITEMS])
    empty = backbone.encode_prompts([""]).expand(count)
    embeds = type(empty).cat([empty, conditional]) if guided else conditional
    momentum = {row: np.zeros(backbone.latent_shape) for row in (0, 2)}
    for done, t in ((0.0, 900), (1 / 3, 600), (2 / 3, 300)):
        latents = torch.randn(count, *backbone.latent_shape, generator=draw)
        rows = torch.cat([latents] * 2) if guided else latents
        expected = called(toy, rows, t, embeds.encoder_hidden_states)
        with torch.no_grad(), steering.hooks(done):
            output = backbone.predict(rows, t, embeds)
        for row in (0, 2):
            z = latents[row : row + 1]
            told = {
                name: called(toy, z, t, backbone.encode_prompts([text]).encoder_hidden_states)[0]
                for name, text in (("female", "female person"), ("male", "male person"), ("", ""))
            }
            towards, away = ("male", "female") if row == 0 else ("female", "male")
            gamma = strength[towards] * (by_hand(told[towards] - told[""], 0.85) - by_hand(told[away] - told[""], 0.85))
            gamma = gamma + 0.5 * momentum[row]
            momentum[row] = 0.6 * momentum[row] + 0.4 * gamma
            if done > 0:  # after the warm-up
                for half in (row, row + count) if guided and branch == "both" else (row + count * guided,):
                    expected[half] += gamma
        torch.testing.assert_close(output.double(), torch.from_numpy(expected), rtol=0, atol=2e-5)
    assert toy.rows == 3 * [6 if guided else 3, 4 if guided else 6]  # one call more, of what is asked for alone


def test_a_quantile_of_each_channel_decides() -> None:
    psi = torch.tensor([[[[1.0, -2.0], [3.0, -4.0]], [[10.0, 20.0], [-30.0, 40.0]]]])
    expected = torch.tensor([[[[0.0, 0.0], [3.0, -4.0]], [[0.0, 0.0], [-30.0, 40.0]]]])
    assert torch.equal(peaks(psi, 0.5), expected)
    assert torch.equal(peaks(psi, 0.0), psi)
    assert torch.equal(peaks(psi, 1.0).count_nonzero((-2, -1)), torch.tensor([[1, 1]]))


def test_directions_are_named_as_they_stand_before_a_person() -> None:
    assert edit_prompt(PROMPTS["female"]) == "female person"
    assert edit_prompt(ConceptPrompts(words="young")) == "young person"


def sample(backbone: Backbone, items: list[Item], edit: Edit | None, scale: float = 5.0) -> Tensor:
    """Latents of the items."""
    noise = torch.stack([initial_noise(i.prompt, i.seed_index, backbone.latent_shape, 0) for i in items])
    embeds, how = backbone.encode_prompts([item.prompt for item in items]), replace(SAMPLING, guidance_scale=scale)
    return how(backbone, noise, embeds, None if edit is None else edit(backbone, items, scale > 1).hooks)


@pytest.mark.parametrize("scale", [1.0, 5.0])
@pytest.mark.parametrize("name", ["tiny_backbone", "tiny_epsilon_backbone", "tiny_sdxl_backbone"])
def test_what_is_asked_for_alone_changes(request: pytest.FixtureRequest, name: str, scale: float) -> None:
    backbone = request.getfixturevalue(name)
    plain, edited = (sample(backbone, ITEMS, edit, scale) for edit in (None, edit_of()))
    assert [torch.equal(a, b) for a, b in zip(plain, edited, strict=True)] == [False, True, False]
    assert torch.equal(plain, sample(backbone, ITEMS, None, scale))  # no hook stays behind


@pytest.mark.parametrize("how", [FairDiffusion(momentum=0.0), FairDiffusion()])
def test_strength_0_is_the_unedited_model_to_the_bit(tiny_backbone: Backbone, how: FairDiffusion) -> None:
    assert torch.equal(sample(tiny_backbone, ITEMS, None), sample(tiny_backbone, ITEMS, edit_of(how, 0.0)))


def test_an_image_does_not_depend_on_its_batch(tiny_backbone: Backbone) -> None:
    together = sample(tiny_backbone, ITEMS, edit_of(FairDiffusion(threshold=0.0)))
    for row in (0, 2):
        alone = sample(tiny_backbone, [ITEMS[row]], edit_of(FairDiffusion(threshold=0.0)))
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-5)


def test_v_models_are_guided_as_their_eps_would_be(tiny_backbone: Backbone) -> None:
    items, seen = ITEMS[:1], list[Tensor]()
    steering = edit_of(FairDiffusion(warm_up=0.0, momentum=0.0, threshold=0.9))(tiny_backbone, items, False)
    z, t = torch.randn(1, *tiny_backbone.latent_shape, generator=torch.Generator().manual_seed(1)), torch.tensor([600])

    def eps(text: str) -> Tensor:
        output = tiny_backbone.predict(z, t, tiny_backbone.encode_prompts([text]))
        return tiny_backbone.noise_prediction(output, z, t)

    with torch.no_grad():
        psi = [peaks(eps(f"{name} person") - eps(""), 0.9) for name in ("male", "female")]
        before = eps(items[0].prompt)
        with steering.hooks(0.0):
            seen.append(eps(items[0].prompt))
    torch.testing.assert_close(seen[0], before + 4.0 * (psi[0] - psi[1]), rtol=0, atol=1e-5)


def test_of_three_concepts_the_two_others_are_left(tiny_backbone: Backbone) -> None:
    toy = tiny_backbone.unet = Toy()
    items = [Item("a photo of a nurse", "nurse", 0, "tan")]
    how = FairDiffusion(warm_up=0.0, momentum=0.0, threshold=0.0)
    steering = edit_of(how, 2.0, prompts=TONES)(tiny_backbone, items, False)
    z, embeds = torch.randn(1, *tiny_backbone.latent_shape), tiny_backbone.encode_prompts(["a photo of a nurse"])
    with torch.no_grad():
        told = {
            tone: toy(z, torch.tensor([500]), tiny_backbone.encode_prompts([text]).encoder_hidden_states, None).sample
            for tone, text in [("", ""), *((tone, f"{tone}-skinned person") for tone in TONES)]
        }
        before = tiny_backbone.predict(z, 500, embeds)
        with steering.hooks(0.0):
            after = tiny_backbone.predict(z, 500, embeds)
    # towards tan, away from light and dark; the unconditional prediction is subtracted once and added twice
    expected = before + 2.0 * (told["tan"] - told["light"] - told["dark"] + told[""])
    torch.testing.assert_close(after, expected, rtol=0, atol=1e-5)


def test_outside_of_the_window_nothing_is_edited(tiny_backbone: Backbone) -> None:
    how = FairDiffusion(warm_up=0.0)
    plain, inside = (sample(tiny_backbone, ITEMS, edit) for edit in (None, edit_of(how, window=(0.5, 1.0))))
    late = edit_of(how, window=(0.9, 1.0))  # no step of four begins there
    assert torch.equal(plain, sample(tiny_backbone, ITEMS, late))
    assert not torch.equal(plain, inside)


def _unknown(backbone: Backbone) -> None:
    edit_of()(backbone, [Item("a photo of a nurse", "nurse", 0, "femal")], True)


def _low(backbone: Backbone) -> None:
    edit_of(frequency=LowFrequency(weight=0.35, transform=haar_lowpass))(backbone, ITEMS, True)


@pytest.mark.parametrize(("make", "words"), [(_unknown, "Did you mean 'female'"), (_low, "frequency=none")])
def test_what_has_no_meaning_is_refused(tiny_backbone: Backbone, make: Callable[[Backbone], None], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make(tiny_backbone)
