"""Values that join attention: the softmax worked out as it is written, where nothing is asked for, and in training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import lightning
import pytest
import torch
import torch.nn.functional as F

from hspace_exp.concepts.concept import WEIGHTS, Concept
from hspace_exp.errors import UserError
from hspace_exp.generation.generate import sample_chunk
from hspace_exp.methods.base import Method
from hspace_exp.methods.frequency import LowFrequency, haar_lowpass
from hspace_exp.methods.steering import Edit
from hspace_exp.methods.task import Task
from hspace_exp.models.backbone import Backbone, load_backbone
from hspace_exp.prompts.plan import Item
from hspace_exp.training.module import losses_of
from hspace_exp.training.noised import NoisedImages
from hspace_rivals.efa import (
    AttentionPredictors,
    ExtendedAttention,
    MaskedValues,
    extended,
    joined,
    last_token,
    layers,
    predicted,
    predictors,
)
from tests.unit.hspace_rivals.batch import ITEMS, PROMPTS, SAMPLING, checked_images

WIDTH = 4


def concepts(backbone: Backbone) -> dict[str, Concept]:
    """Predictors with all weights drawn at random."""
    made = {}
    for seed, (name, prompts) in enumerate(PROMPTS.items()):
        random = torch.Generator().manual_seed(seed)
        start = MaskedValues(WIDTH).start(backbone, "channel", random)
        numbers = start + 0.1 * torch.randn(start.shape, generator=random)
        made[name] = Concept(
            numbers, name, "gender", "tiny", "r", backbone.h_shape, "efa", prompts.plain(), site=WEIGHTS
        )
    return made


def edit(
    own: dict[str, Concept], strength: float = 1.5, branch: str = "both", frequency: LowFrequency | None = None
) -> Edit:
    trained = AttentionPredictors(partial(torch.optim.Adam, lr=0.01), WIDTH)
    method = Method("efa", strength, branch, training=trained, edit=ExtendedAttention(WIDTH))
    return method.apply(PROMPTS, own, frequency=frequency)


def test_heads_are_those_of_one_softmax_over_tokens_and_value(tiny_backbone: Backbone) -> None:
    module = layers(tiny_backbone, "all")[0]
    random = torch.Generator().manual_seed(0)
    x, text = (
        torch.randn(2, 6, module.to_q.in_features, generator=random),
        torch.randn(2, 5, module.to_k.in_features, generator=random),
    )
    value = torch.randn(1, 1, module.to_k.in_features, generator=random)
    a = torch.randn(2, module.heads, 2, 3, generator=random)
    found = joined(module, x, text, a, value)
    size = module.to_q.out_features // module.heads
    for row in range(2):
        q, k, v = module.to_q(x[row]), module.to_k(text[row]), module.to_v(text[row])
        new = module.to_v(value[0, 0])
        for head in range(module.heads):
            part = slice(head * size, (head + 1) * size)
            for place in range(6):
                products = k[:, part] @ q[place, part] / size**0.5
                whole = torch.cat([products, a[row, head].flatten()[place][None]]).softmax(0)
                extended_head = whole @ torch.cat([v[:, part], new[None, part]])
                plain = products.softmax(0) @ v[:, part]
                torch.testing.assert_close(found[row, place, part], extended_head - plain, atol=1e-5, rtol=1e-4)


def test_a_predictor_is_three_convolutions_with_its_own_weights_a_row(tiny_backbone: Backbone) -> None:
    modules = layers(tiny_backbone, "all")
    both = torch.stack([one.vector.flatten() for one in concepts(tiny_backbone).values()])
    x = torch.randn(2, modules[1].to_q.in_features, 4, 4, generator=torch.Generator().manual_seed(1))
    found = predicted(predictors(modules, both, WIDTH)[1], x)
    for row in range(2):
        (one, a), (two, b), (three, c) = predictors(modules, both[row : row + 1], WIDTH)[1]
        y = F.conv2d(F.silu(F.conv2d(x[row], one[0], a[0], padding=1)), two[0], b[0], padding=1)
        torch.testing.assert_close(found[row], F.conv2d(F.silu(y), three[0], c[0], padding=1), atol=1e-5, rtol=1e-4)
    start = MaskedValues(WIDTH).start(tiny_backbone, "channel", torch.Generator().manual_seed(0))
    begun = predictors(modules, start.flatten()[None], WIDTH)[1]
    assert predicted(begun, x[:1]).abs().max() == 0


def test_the_value_is_the_last_token_of_its_text(tiny_backbone: Backbone) -> None:
    embeds = tiny_backbone.encode_prompts(["woman", "a photo of a man"])
    place = int(tiny_backbone.word_mask("a photo of a man", "man").nonzero()[-1][-1])
    found = last_token(embeds)
    assert torch.equal(found[1, 0], embeds.encoder_hidden_states[1, place])
    word = int(tiny_backbone.word_mask("woman", "woman").nonzero()[-1][-1])
    assert torch.equal(found[0, 0], embeds.encoder_hidden_states[0, word])


def test_images_are_those_of_single_runs_and_without_strength_those_of_the_model(tiny_backbone: Backbone) -> None:
    own, make = concepts(tiny_backbone), partial(sample_chunk, tiny_backbone, SAMPLING, image_seed=0)
    found, plain = checked_images(tiny_backbone, edit(own), edit(own, 0.0))
    half = make(ITEMS, edit=edit(own, branch="conditional"))
    low = make(ITEMS, edit=edit(own, frequency=LowFrequency(0.5, "original", haar_lowpass)))
    assert min((other[0] - found[0]).abs().max() for other in (half, low)) > 1e-3
    assert torch.equal(low[1], plain[1])


def task_of(backbone: Backbone, folder: Path, steps: int) -> Task:
    random = torch.Generator().manual_seed(5)
    maps = torch.zeros(6, 1, 32, 32, dtype=torch.uint8)
    maps[..., :16] = 255
    return Task(
        backbone=backbone,
        method="efa",
        groups=dict.fromkeys(PROMPTS, "gender"),
        prompts=PROMPTS,
        steps=steps,
        seed=3,
        folder=folder,
        made_by="x",
        make_trainer=partial(lightning.Trainer, logger=False),
        latents={name: torch.randn(6, *backbone.latent_shape, generator=random) for name in PROMPTS},
        maps=dict.fromkeys(PROMPTS, maps),
    )


def test_the_loss_is_the_sum_of_its_three_terms(tiny_epsilon_backbone: Backbone, tmp_path: Path) -> None:
    backbone, task = tiny_epsilon_backbone, task_of(tiny_epsilon_backbone, tmp_path, 1)
    latents, maps = (torch.stack([some[name] for name in PROMPTS]) for some in (task.latents, task.maps or {}))
    examples = NoisedImages(backbone, PROMPTS, latents, maps, batch_size=1)
    examples.embeds = backbone.encode_prompts(["a photo of a man", "a photo of a woman"])
    batch, own = examples.draw(0), concepts(backbone)
    vectors = torch.stack([one.vector for one in own.values()]).requires_grad_()
    losses = losses_of(MaskedValues(WIDTH, "all", 0.3, 0.7), backbone, vectors, batch)
    losses.sum().backward()
    for row, (name, concept) in enumerate(own.items()):
        modules, one = layers(backbone, "all"), batch.rows(slice(row, row + 1))
        numbers = predictors(modules, concept.vector.flatten()[None], WIDTH)
        value = last_token(backbone.encode_prompts([PROMPTS[name].words]))
        terms, made = [], None
        for text in ("a photo of a man" if name == "female" else "a photo of a woman", PROMPTS[name].positive):
            seen: list[torch.Tensor] = []
            with torch.no_grad(), extended(backbone, modules, [(torch.tensor([0]), numbers, value, 1.0)], seen):
                output = backbone.predict(one.latents, one.timesteps, backbone.encode_prompts([text]))
            made = output if made is None else made
            terms.append(seen)
        left = made[..., : made.shape[-1] // 2] - one.target[..., : made.shape[-1] // 2]  # type: ignore[index]
        expected = left.square().mean() / 2
        expected = expected + 0.3 * torch.stack([some.abs().mean() for some in terms[1]]).mean()
        outside = [some[..., some.shape[-1] // 2 :].abs().mean() / 2 for some in terms[0]]
        torch.testing.assert_close(
            losses[row].detach(), expected + 0.7 * torch.stack(outside).mean(), atol=1e-5, rtol=1e-4
        )
    gradient, vectors.grad, backbone.micro_batch_size = vectors.grad, None, 1
    losses_of(MaskedValues(WIDTH, "all", 0.3, 0.7), backbone, vectors, batch).sum().backward()
    torch.testing.assert_close(vectors.grad, gradient, atol=1e-6, rtol=1e-3)


@pytest.mark.filterwarnings("ignore")  # Lightning's own
def test_training_reduces_its_loss(tiny_epsilon_backbone: Backbone, tmp_path: Path) -> None:
    backbone, task = tiny_epsilon_backbone, task_of(tiny_epsilon_backbone, tmp_path, 40)
    settings = {"width": WIDTH, "present": 0.0, "outside": 0.0}
    found = AttentionPredictors(partial(torch.optim.Adam, lr=0.03), batch_size=4, **settings).learn(task)  # type: ignore[arg-type]
    latents, maps = (torch.stack([some[name] for name in PROMPTS]) for some in (task.latents, task.maps or {}))
    examples = NoisedImages(backbone, PROMPTS, latents, maps, batch_size=16, seed=9)
    examples.embeds = backbone.encode_prompts(["a photo of a man"] * 16 + ["a photo of a woman"] * 16)
    start = MaskedValues(WIDTH).start(backbone, "channel", torch.Generator().manual_seed(0))
    ends = torch.stack([found[name].vector for name in PROMPTS])
    objective = MaskedValues(WIDTH, "all", 0.0, 0.0)
    with torch.no_grad():
        before, after = (
            objective(backbone, some.repeat_interleave(16, 0), examples.draw(0)).mean()
            for some in (torch.stack([start, start]), ends)
        )
    assert after < before
    assert found["male"].site == WEIGHTS
    assert found["male"].hyperparameters["unet_evaluations"] == {"forward": 40 * 4 * 2, "backward": 40 * 4 * 2}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers, of its own
def test_what_it_cannot_do_is_one_line(tiny_backbone: Backbone, tiny_family: Callable[[str], Path]) -> None:
    own = concepts(tiny_backbone)
    wrong = {name: replace(one, vector=one.vector[:-1]) for name, one in own.items()}
    with pytest.raises(UserError, match="no predictors for these layers"):
        edit(wrong)(tiny_backbone, ITEMS, True)
    with pytest.raises(UserError, match="Did you mean 'female'"):
        edit(own)(tiny_backbone, [Item("a photo of a nurse", "nurse", 0, "femal")], True)
    with pytest.raises(UserError, match="U-Nets only"):
        layers(load_backbone(tiny_family("pixart"), device="cpu"), "all")
    with pytest.raises(UserError, match="quarter"):
        layers(tiny_backbone, "quarter")
    assert {m.to_q.in_features for m in layers(load_backbone(tiny_family("sd14"), device="cpu"), "quarter")}
