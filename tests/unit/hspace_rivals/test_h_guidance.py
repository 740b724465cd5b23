from __future__ import annotations

import pytest
import torch

from benchmarks.recording import record_hspace
from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError
from hspace_exp.generation.generate import sample_chunk
from hspace_exp.methods.base import Method
from hspace_exp.methods.frequency import LowFrequency, haar_lowpass
from hspace_exp.methods.steering import Edit
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.plan import Item
from hspace_rivals.h_guidance import HGuidance, LinearClassifier

SAMPLING = Sampling(3, lambda scheduler: make_scheduler(scheduler, "native"), chunk_size=8)
ITEMS = [Item("a photo of a nurse", "nurse", 0, "male"), Item("a photo of a doctor", "doctor", 0, "")]


@pytest.fixture
def concepts(tiny_backbone: Backbone) -> dict[str, Concept]:
    made = {}
    for k, name in enumerate(("female", "male")):
        vector = torch.randn(tiny_backbone.h_shape, generator=torch.Generator().manual_seed(k)) / 16
        levels = {"classifier": {"scale": [1.0, 2.0, 0.5], "bias": [0.1 * k, 0.0, -0.3]}}
        shape = tiny_backbone.h_shape
        made[name] = Concept(vector, name, "gender", "tiny", "r", shape, "h_guidance", hyperparameters=levels)
    return made


def guidance(
    concepts: dict[str, Concept],
    strength: float,
    branch: str,
    temperature: float = 1.0,
    frequency: LowFrequency | None = None,
    window: tuple[float, float] = (0.0, 1.0),
) -> Edit:
    method = Method("h_guidance", strength, branch, edit=HGuidance(temperature), window=window)
    return method.apply(dict.fromkeys(concepts, ConceptPrompts()), concepts, frequency=frequency)


def h_of_a_step(backbone: Backbone, edit: object, done: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The h of one guided step before and after an edit."""
    steering = edit(backbone, ITEMS, True)  # type: ignore[operator]
    count = 2 * len(ITEMS)
    latents = torch.randn(count, *backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    embeds = backbone.encode_prompts(["a photo of a nurse"]).expand(count)
    unet = backbone.unet
    with torch.no_grad(), record_hspace(unet) as before, steering.hooks(done), record_hspace(unet) as after:
        backbone.predict(latents, 500, embeds)
    return before[0], after[0]


@pytest.mark.parametrize("branch", ["both", "conditional"])
def test_every_half_takes_a_step_along_its_own_gradient(
    tiny_backbone: Backbone, concepts: dict[str, Concept], branch: str
) -> None:
    before, after = h_of_a_step(tiny_backbone, guidance(concepts, 0.03, branch, 2.0), 1 / 3)
    classifier = LinearClassifier.of(list(concepts.values()), tiny_backbone.device, 2.0)
    size = 0.03 * 2.0**2 * 16 * 4 * 4
    h = before[[0, 2]].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(classifier.log_probabilities(h, 1)[:, 1].sum(), h)
    expected = before.clone()
    expected[2] += size * gradient[1]
    if branch == "both":
        expected[0] += size * gradient[0]
    torch.testing.assert_close(after, expected)  # and samples that are asked for nothing stay


def test_the_likelihood_of_the_target_grows(tiny_backbone: Backbone, concepts: dict[str, Concept]) -> None:
    classifier = LinearClassifier.of(list(concepts.values()), tiny_backbone.device)
    before, after = (
        classifier.log_probabilities(h, 0) for h in h_of_a_step(tiny_backbone, guidance(concepts, 0.01, "both"), 0)
    )
    assert (after[[0, 2], 1] > before[[0, 2], 1]).all()


@pytest.mark.parametrize("source", ["original", "current"])
def test_low_frequencies_join_in(tiny_backbone: Backbone, concepts: dict[str, Concept], source: str) -> None:
    edit = guidance(concepts, 0.03, "conditional", frequency=LowFrequency(0.5, source, haar_lowpass))
    steering = edit(tiny_backbone, ITEMS, True)
    unedited = torch.randn(4, *tiny_backbone.h_shape, generator=torch.Generator().manual_seed(1))
    hooks, asked = steering.hooks, ITEMS
    if source == "original":  # the first item alone is run again, with the h of its unedited run beside it
        assert steering.foresight is not None
        rows, hooks = steering.foresight.then([unedited], None)
        asked = [ITEMS[row] for row in rows.tolist()]
        assert asked == ITEMS[:1]
    count = 2 * len(asked)
    latents = torch.randn(count, *tiny_backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    unet, embeds = tiny_backbone.unet, tiny_backbone.encode_prompts(["a photo of a nurse"]).expand(count)
    with torch.no_grad(), record_hspace(unet) as before, hooks(0.0), record_hspace(unet) as after:
        tiny_backbone.predict(latents, 500, embeds)
    (before,), (after,), first = before, after, len(asked)
    changed = (after - before).abs().amax((1, 2, 3)) > 0
    assert changed.tolist() == [False] * first + [True] + [False] * (first - 1)
    classifier = LinearClassifier.of(list(concepts.values()), tiny_backbone.device)
    step = 0.03 * 256 * classifier.gradient(before[first : first + 1], 0, torch.tensor([1]))
    low = haar_lowpass(unedited[2:3]) if source == "original" else haar_lowpass(before[first : first + 1] + step)
    torch.testing.assert_close(after[first : first + 1], before[first : first + 1] + step + 0.5 * low)


def test_one_class_alone_is_refused(tiny_backbone: Backbone, concepts: dict[str, Concept]) -> None:
    alone = guidance({"male": concepts["male"]}, 0.03, "both")
    with pytest.raises(UserError, match="it needs the files of all of them"):
        alone(tiny_backbone, ITEMS, True)


def test_outside_the_window_nothing_happens_and_strength_zero_is_the_unedited_model(
    tiny_backbone: Backbone, concepts: dict[str, Concept]
) -> None:
    late = guidance(concepts, 0.03, "both", window=(0.5, 1.0))(tiny_backbone, ITEMS, True)
    for done, hooked in ((0.0, False), (0.5, True)):
        with late.hooks(done):
            assert bool(tiny_backbone.unet.mid_block._forward_hooks) == hooked
    plain = sample_chunk(tiny_backbone, SAMPLING, ITEMS, 0, None)
    zero = sample_chunk(tiny_backbone, SAMPLING, ITEMS, 0, guidance(concepts, 0.0, "both"))
    torch.testing.assert_close(zero, plain)
    moved = sample_chunk(tiny_backbone, SAMPLING, ITEMS, 0, guidance(concepts, 0.1, "both"))
    assert (moved[0] - plain[0]).abs().max() > 1e-3
    torch.testing.assert_close(moved[1], plain[1], rtol=1e-4, atol=1e-4)


def test_each_concept_has_its_own_strength(tiny_backbone: Backbone, concepts: dict[str, Concept]) -> None:
    moved = []
    for strength in ({"female": 9.0, "male": 0.02}, 0.02):
        before, after = h_of_a_step(tiny_backbone, guidance(concepts, strength, "both"), 0.0)  # type: ignore[arg-type]
        moved.append(after - before)
    assert torch.equal(moved[0], moved[1])  # a male nurse is asked for


def test_settings() -> None:
    assert HGuidance().temperature == 8.0
    assert not Method("h_guidance", 1.0, "both", edit=HGuidance()).keeps
