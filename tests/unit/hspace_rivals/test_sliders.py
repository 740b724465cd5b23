"""Sliders against weights changed by hand, as diffusers reads them, and through training, files and batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import diffusers
import pytest
import torch

from hspace_exp.concepts.algebra import combined, concept_cosines
from hspace_exp.concepts.concept import WEIGHTS, Concept, load_concept
from hspace_exp.errors import UserError
from hspace_exp.generation.generate import sample_chunk
from hspace_exp.generation.request import asked_groups, edit_of, way_of
from hspace_exp.generation.steer import steer
from hspace_exp.methods.base import Method
from hspace_exp.methods.frequency import LowFrequency, haar_lowpass
from hspace_exp.methods.learning import OnPolicy
from hspace_exp.methods.steering import Edit
from hspace_exp.methods.task import Task
from hspace_exp.models.backbone import Backbone, load_backbone
from hspace_exp.models.sampling import Sampling
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.plan import Item
from hspace_exp.training.module import losses_of
from hspace_exp.training.on_policy import Trajectories, in_turn, sample_trajectories
from hspace_rivals.sliders import (
    Directed,
    LowRank,
    Sliders,
    TextSliders,
    adapted,
    attention_layers,
    of_concept,
    pairs,
    save_for_diffusers,
)
from tests.unit.hspace_rivals.batch import ITEMS, PROMPTS, SAMPLING, checked_images, predictions

ADAM = partial(torch.optim.AdamW, lr=0.01)


@pytest.fixture
def make_task(tmp_path: Path) -> Callable[..., Task]:
    def make(backbone: Backbone, steps: int, subjects: Sequence[str] = ()) -> Task:
        prompts = [f"a photo of a {name}" for name in subjects or ["person"]]
        runs = Trajectories(**sample_trajectories(backbone, SAMPLING, in_turn(prompts, range(4)), 0))
        return Task(
            backbone=backbone,
            method="sliders",
            groups=dict.fromkeys(PROMPTS, "gender"),
            prompts=PROMPTS,
            steps=steps,
            seed=3,
            folder=tmp_path,
            made_by="x",
            make_trainer=trainer,
            runs={(name, "neutral"): runs for name in PROMPTS},
        )

    return make


def trainer(**options: object) -> object:
    import lightning

    return lightning.Trainer(logger=False, **options)  # type: ignore[arg-type]


def concepts(backbone: Backbone, layers: str = "all", rank: int = 2, size: float = 0.2) -> dict[str, Concept]:
    """Sliders with all entries drawn at random."""
    made = {}
    for seed, (name, prompts) in enumerate(PROMPTS.items()):
        random = torch.Generator().manual_seed(seed)
        start = LowRank(rank, layers).start(backbone, "channel", random)  # type: ignore[arg-type]
        numbers = size * torch.randn(start.shape, generator=random)
        of = ("tiny", "r", backbone.h_shape, "sliders", prompts.plain())
        made[name] = Concept(numbers, name, "gender", *of, site=WEIGHTS)
    return made


def edit(
    own: dict[str, Concept],
    strength: float = 1.5,
    branch: str = "both",
    frequency: LowFrequency | None = None,
    window: tuple[float, float] = (0.0, 1.0),
) -> Edit:
    trained, prompts = TextSliders(ADAM), {name: PROMPTS.get(name) or ConceptPrompts("", "") for name in own}
    method = Method("sliders", strength, branch, training=trained, edit=Sliders(), window=window)
    return method.apply(prompts, own, frequency=frequency)


def merge(backbone: Backbone, concept: Concept, strength: float) -> None:
    """W + s B A, by NumPy's rules from the flat numbers: A then B, layer by layer."""
    numbers, first = concept.vector.flatten().double(), 0
    layers = attention_layers(backbone.unet, "all")
    rank = len(numbers) // sum(sum(layer.weight.shape) for _, layer in layers)
    for _, layer in layers:
        outputs, inputs = layer.weight.shape
        a = numbers[first : first + rank * inputs].reshape(rank, inputs)
        first += rank * inputs
        b = numbers[first : first + outputs * rank].reshape(outputs, rank)
        first += outputs * rank
        layer.weight.copy_(layer.weight.double() + strength * b @ a)
    assert first == len(numbers)


def test_layers_are_those_of_the_attention_that_is_named(tiny_backbone: Backbone) -> None:
    named = {which: [name for name, _ in attention_layers(tiny_backbone.unet, which)] for which in ("self", "cross")}  # type: ignore[arg-type]
    assert {name.split(".")[-2 if "to_out" not in name else -3] for name in named["self"]} == {"attn1"}
    assert {name.split(".")[-2 if "to_out" not in name else -3] for name in named["cross"]} == {"attn2"}
    assert [name.partition("attn2.")[2] for name in named["cross"][:4]] == ["to_q", "to_k", "to_v", "to_out.0"]
    both = [name for name, _ in attention_layers(tiny_backbone.unet, "all")]
    assert sorted(both) == sorted(named["self"] + named["cross"])
    with pytest.raises(UserError, match="no cross attention"):
        attention_layers(torch.nn.Linear(2, 2), "cross")


def test_a_slider_starts_as_the_frozen_model(tiny_backbone: Backbone) -> None:
    start = LowRank(3, "cross").start(tiny_backbone, "channel", torch.Generator().manual_seed(0))
    layers = attention_layers(tiny_backbone.unet, "cross")
    for (_, layer), (first, second) in zip(layers, pairs(layers, start.flatten()), strict=True):
        assert first.shape == (3, layer.in_features)
        assert second.shape == (layer.out_features, 3)
        assert second.count_nonzero() == 0
        assert 0 < first.abs().max() <= (3 / layer.in_features) ** 0.5
    again = LowRank(3, "cross").start(tiny_backbone, "channel", torch.Generator().manual_seed(0))
    assert torch.equal(start, again)


def test_one_layer_gives_what_is_worked_out_by_hand() -> None:
    layer = torch.nn.Linear(2, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, 0.0]])
    x = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    low = (torch.tensor([[1.0, 1.0]]), torch.tensor([[0.5]]))  # A x = x1 + x2, B A x half of that
    with adapted([("one", layer)], [(torch.tensor([1]), [low])]):
        assert layer(x).flatten().tolist() == [1.0, 6.5]  # 3 + (3 + 4) / 2
    assert layer(x).flatten().tolist() == [1.0, 3.0]


@pytest.mark.parametrize("eta", [1.0, 4.0])
def test_the_target_is_that_of_the_paper(tiny_backbone: Backbone, make_task: Callable[..., Task], eta: float) -> None:
    task = make_task(tiny_backbone, 1, ["nurse", "ceo"])
    runs = task.runs["female", "neutral"]
    settings = OnPolicy(["neutral"], ["nurse", "ceo"], kept_bytes=0)
    states = Directed(tiny_backbone, PROMPTS, {name: [runs] for name in PROMPTS}, settings, batch_size=2)
    states.aim([["female", "male"]], eta)
    for run in range(4):
        job = ("nurse", "ceo")[run % 2]
        texts = [f"a photo of a {job}", f"a photo of a female {job}", f"a photo of a male {job}"]
        embeds = tiny_backbone.encode_prompts(texts)
        for step in range(3):
            z, t = runs.latents[run, step].expand(3, -1, -1, -1), runs.timesteps[run, step]
            plain, female, male = tiny_backbone.predict(z, t, embeds)
            row = 3 * run + step
            torch.testing.assert_close(
                states.teacher["female"][row], plain + eta * (female - male), atol=1e-4, rtol=1e-4
            )
            torch.testing.assert_close(states.teacher["male"][row], plain + eta * (male - female), atol=1e-4, rtol=1e-4)
    assert states.passes("female") == 3 * 12  # c_t, c_+ and c_- at 4 x 3 states


def test_the_loss_is_that_of_the_changed_weights_and_parts_of_a_batch_are_the_whole(
    tiny_backbone: Backbone, tiny_folder: Path, make_task: Callable[..., Task]
) -> None:
    runs = make_task(tiny_backbone, 1).runs["female", "neutral"]
    states = Directed(
        tiny_backbone, PROMPTS, {name: [runs] for name in PROMPTS}, OnPolicy(["neutral"], kept_bytes=0), batch_size=2
    )
    states.aim([["female", "male"]], 2.0)
    batch, objective = states.draw(0), LowRank(2)
    own = [one.vector for one in concepts(tiny_backbone).values()]
    vectors = torch.stack(own).repeat_interleave(2, 0).requires_grad_()
    losses = losses_of(objective, tiny_backbone, vectors, batch)
    losses.sum().backward()
    gradient = vectors.grad
    assert gradient is not None
    for (name, concept), rows in zip(concepts(tiny_backbone).items(), (slice(0, 2), slice(2, 4)), strict=True):
        changed = load_backbone(tiny_folder, device="cpu")
        merge(changed, concept, 1.0)
        some = batch.rows(rows)
        with torch.no_grad():
            found = changed.predict(some.latents, some.timesteps, some.embeds)
        expected = (found - some.teacher).square().mean((1, 2, 3))
        torch.testing.assert_close(losses[rows].detach(), expected, atol=1e-4, rtol=1e-4, msg=name)
    tiny_backbone.micro_batch_size = 1
    vectors.grad = None
    losses_of(objective, tiny_backbone, vectors, batch).sum().backward()
    torch.testing.assert_close(vectors.grad, gradient, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("branch", ["both", "conditional"])
def test_a_row_is_predicted_with_the_weights_of_its_target(tiny_backbone: Backbone, branch: str) -> None:
    own = concepts(tiny_backbone)
    found, before = predictions(tiny_backbone, edit(own, 1.5, branch), ITEMS), predictions(tiny_backbone, None, ITEMS)
    expected = before.clone()
    old = {name: value.clone() for name, value in tiny_backbone.unet.state_dict().items()}
    for row in (0, 2):
        merge(tiny_backbone, own[ITEMS[row].target], 1.5)
        by_weights = predictions(tiny_backbone, None, ITEMS)
        tiny_backbone.unet.load_state_dict(old)
        for half in (0, 3) if branch == "both" else (3,):
            expected[row + half] = by_weights[row + half]
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
    assert (found[3] - before[3]).abs().max() > 1e-3
    same = [1, 4] if branch == "both" else [0, 1, 2, 4]
    assert torch.equal(found[same], before[same])  # without target, or in the half that is left alone: to the bit


def test_images_are_those_of_single_runs_and_without_strength_those_of_the_model(tiny_backbone: Backbone) -> None:
    own, make = concepts(tiny_backbone), partial(sample_chunk, tiny_backbone, SAMPLING, image_seed=0)
    found, plain = checked_images(tiny_backbone, edit(own), edit(own, 0.0))
    late = edit(own, window=(0.5, 1.0))
    assert torch.equal(predictions(tiny_backbone, late, ITEMS, 0.0), predictions(tiny_backbone, None, ITEMS))
    low = make(ITEMS, edit=edit(own, frequency=LowFrequency(0.5, "original", haar_lowpass)))
    assert (low[0] - found[0]).abs().max() > 1e-3
    assert torch.equal(low[1], plain[1])


def test_several_sliders_add_up(tiny_backbone: Backbone) -> None:
    both = concepts(tiny_backbone)
    own = {"female": both["female"], "old": replace(both["male"], name="old", attribute="age")}
    items = [Item("a photo of a nurse", "nurse", 0, "female+old")]
    found = predictions(tiny_backbone, edit(own), items)
    for concept in own.values():
        merge(tiny_backbone, concept, 1.5)
    torch.testing.assert_close(found, predictions(tiny_backbone, None, items), atol=2e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore")  # Lightning's own
def test_training_reduces_its_loss_and_is_the_same_again(
    tiny_epsilon_backbone: Backbone, make_task: Callable[..., Task]
) -> None:
    backbone, learner = tiny_epsilon_backbone, TextSliders(ADAM, rank=2, batch_size=4, eta=2.0)
    task = make_task(backbone, 25)
    found = learner.learn(task)
    runs = {name: [task.runs[name, "neutral"]] for name in PROMPTS}
    states = Directed(backbone, PROMPTS, runs, OnPolicy(["neutral"], kept_bytes=0), batch_size=12, seed=9)
    states.aim([["female", "male"]], 2.0)
    start = LowRank(2).start(backbone, "channel", torch.Generator().manual_seed(0))
    ends = torch.stack([found[name].vector for name in PROMPTS])
    with torch.no_grad():
        before, after = (
            LowRank(2)(backbone, some.repeat_interleave(12, 0), states.draw(0)).mean()
            for some in (torch.stack([start, start]), ends)
        )
    assert after < 0.8 * before
    assert found["female"].hyperparameters["unet_evaluations"] == {"forward": 3 * 12 + 25 * 4, "backward": 25 * 4}
    assert (found["female"].vector - found["male"].vector).abs().max() > 0.01
    again = learner.learn(replace(task, folder=task.folder / "again"))
    assert torch.equal(again["female"].vector, found["female"].vector)
    with pytest.raises(UserError, match="alone in 'gender'"):
        learner.learn(replace(task, prompts={"male": PROMPTS["male"]}))


def test_files_are_the_framework_s_own_and_say_what_they_are(tiny_backbone: Backbone, tmp_path: Path) -> None:
    own = concepts(tiny_backbone)
    read = load_concept(own["female"].save(tmp_path / "female.safetensors"))
    assert read.kind == read.site == WEIGHTS
    assert torch.equal(read.vector, own["female"].vector)
    assert "weights" in read.card()
    read.check(tiny_backbone)
    assert concept_cosines(list(own.values())) == {}
    with pytest.raises(UserError, match="of weights"):
        combined("both", list(own.values()))
    with pytest.raises(UserError, match=r"expected \(16, 1, 1\)"):
        replace(own["female"], site="mid_block")
    groups = asked_groups(own, [])
    for name in own:
        own[name] = replace(own[name], hyperparameters={"applied": {"method.window": [0.0, 1.0]}})
    how = edit_of(way_of(list(own.values())), own, groups, {"male": 1.5})
    found, plain = (sample_chunk(tiny_backbone, SAMPLING, ITEMS[:2], 0, some) for some in (how, None))
    assert (found[0] - plain[0]).abs().max() > 1e-3
    other = replace(own["male"], vector=own["male"].vector[:-1])
    with pytest.raises(UserError, match="no slider of these layers"):
        of_concept(other, attention_layers(tiny_backbone.unet, "all"))


def test_a_pipeline_is_refused_in_one_line(tiny_backbone: Backbone, tiny_folder: Path) -> None:
    pipe = diffusers.DiffusionPipeline.from_pretrained(tiny_folder)
    for method in (None, "plain"):
        with pytest.raises(UserError, match="say generate"):
            steer(pipe, [(concepts(tiny_backbone)["male"], 1.0)], method=method)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers, of its own
@pytest.mark.parametrize("family", ["sdxl", "pixart"])
@torch.no_grad()
def test_other_families_have_sliders_too(family: str, tiny_family: Callable[[str], Path]) -> None:
    backbone = load_backbone(tiny_family(family), device="cpu")
    own = {name: replace(one, h_shape=backbone.h_shape) for name, one in concepts(backbone).items()}
    items = [replace(item, prompt="a photo of a nurse") for item in ITEMS[:2]]
    found, plain = (sample_chunk(backbone, Sampling(2), items, 0, some) for some in (edit(own), None))
    assert (found[0] - plain[0]).abs().max() > 1e-5
    assert torch.equal(found[1], plain[1])


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_diffusers_loads_what_is_exported(tiny_backbone: Backbone, tiny_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    own = concepts(tiny_backbone)
    own["male"].save(tmp_path / "male.safetensors")
    pipe = diffusers.DiffusionPipeline.from_pretrained(tiny_folder)
    items = [replace(item, target="male") for item in ITEMS]
    x, t, embeds = torch.full((6, *tiny_backbone.latent_shape), 0.2), 500, [""] * 3 + [item.prompt for item in items]
    text = tiny_backbone.encode_prompts(embeds).encoder_hidden_states
    save_for_diffusers(tmp_path / "male.safetensors", pipe.unet, tmp_path / "lora.safetensors")
    pipe.load_lora_weights(tmp_path, weight_name="lora.safetensors", adapter_name="male")
    for strength in (1.0, 1.5):
        pipe.set_adapters("male", strength)
        with torch.no_grad():
            loaded = pipe.unet(x, t, text).sample
            with edit(own, strength)(tiny_backbone, items, True).hooks(0.0):
                hooked = tiny_backbone.unet(x, t, text).sample
            plain = tiny_backbone.unet(x, t, text).sample
        torch.testing.assert_close(loaded, hooked, atol=2e-5, rtol=1e-4)
        assert (loaded - plain).abs().max() > 1e-3
