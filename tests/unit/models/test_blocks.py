"""Compiled and checkpointed blocks compute what plain ones do, see every hook, and leave weights and names alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from hspace_exp.concepts.concept import Concept
from hspace_exp.generation.generate import sample_chunk
from hspace_exp.io.digest import config_digest
from hspace_exp.methods.base import Method
from hspace_exp.methods.focused import Focus
from hspace_exp.methods.learning import Noisy
from hspace_exp.methods.lwim import Localised
from hspace_exp.methods.score_matching import ScoreMatching
from hspace_exp.methods.steering import Edit
from hspace_exp.models import backbone as backbones
from hspace_exp.models.attention import record_cross_attention
from hspace_exp.models.backbone import Backbone, load_backbone
from hspace_exp.models.blocks import compile_blocks, parts, uncompile_blocks
from hspace_exp.models.hspace import HEdit, edit_hspace
from hspace_exp.models.sampling import Sampling
from hspace_exp.models.schedulers import make_scheduler
from hspace_exp.models.split import decode, encode
from hspace_exp.prompts.attributes import ConceptPrompts
from hspace_exp.prompts.plan import Item

PROMPT, WORDS = "a photo of a woman", "woman"
pytestmark = [
    # Of diffusers' Euler scheduler, with this NumPy.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # Of the compiler, which looks at every tensor's gradient and silences this itself, unless warnings are errors.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
]


class Graphs:
    """A cheap backend of ``torch.compile``, which counts calls of what it was given."""

    def __init__(self) -> None:
        """Start at zero."""
        self.calls = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        """Run the graph as it is."""

        def run(*args: Any) -> Any:
            self.calls += 1
            return graph.forward(*args)

        return run

    def used(self) -> bool:
        """Whether anything compiled ran since the last question."""
        calls, self.calls = self.calls, 0
        return calls > 0


@pytest.fixture
def graphs() -> Iterator[Graphs]:
    yield Graphs()
    torch._dynamo.reset()


def noisy(backbone: Backbone, rows: int = 2) -> Noisy:
    random = torch.Generator().manual_seed(0)
    latents, target, teacher = torch.randn(3, rows, *backbone.latent_shape, generator=random)
    side = backbone.image_size
    maps = torch.rand(rows, 1, side, side, generator=random).round()
    embeds = backbone.encode_prompts([PROMPT]).expand(rows)
    return Noisy(latents, torch.arange(100, 100 + rows), embeds, target, maps, teacher=teacher)


def learnt(backbone: Backbone, objective: Any, batch: Noisy) -> tuple[torch.Tensor, torch.Tensor]:
    vectors = torch.ones(len(batch.latents), *backbone.h_shape, requires_grad=True)
    losses = objective(backbone, vectors, batch)
    losses.sum().backward()
    assert vectors.grad is not None
    return losses.detach(), vectors.grad


def focused(backbone: Backbone) -> Edit:
    random = torch.Generator().manual_seed(1)
    vector, presence = (torch.randn(backbone.h_shape, generator=random) for _ in range(2))
    own = Concept(vector, "female", "gender", "m", "r", backbone.h_shape, "focused", presence=presence)
    focus = Focus(gate=0.5, hold=0.5, adaptive=False, keep=0.0)
    method = Method("focused", 3.0, "conditional", edit=focus)
    return method.apply({"female": ConceptPrompts(PROMPT, words=WORDS)}, {"female": own})


def test_predictions_edits_and_halves_are_those_of_plain_blocks(tiny_backbone: Backbone, graphs: Graphs) -> None:
    unet, batch = tiny_backbone.unet, noisy(tiny_backbone)
    given = batch.latents, batch.timesteps, batch.embeds
    names = list(unet.state_dict())
    edit = HEdit(vector=torch.ones(tiny_backbone.h_shape))

    def all_of_it() -> list[torch.Tensor]:
        plain = tiny_backbone.predict(*given)
        with edit_hspace(unet, edit):
            edited = tiny_backbone.predict(*given)
        encoded = encode(tiny_backbone, *given)
        return [plain, edited, decode(tiny_backbone, encoded, edit(encoded.h), batch.embeds)]

    expected = all_of_it()
    compile_blocks(unet, graphs)  # type: ignore[arg-type]
    torch.testing.assert_close(all_of_it(), expected)
    assert graphs.used()
    assert list(unet.state_dict()) == names
    uncompile_blocks(unet)
    assert all(torch.equal(a, b) for a, b in zip(all_of_it(), expected, strict=True))
    assert not graphs.used()


def test_attention_is_seen_whether_blocks_were_compiled_before_or_not(tiny_backbone: Backbone, graphs: Graphs) -> None:
    batch, mask = noisy(tiny_backbone), tiny_backbone.word_mask(PROMPT, WORDS).expand(2, -1)

    def recorded() -> torch.Tensor:
        with record_cross_attention(tiny_backbone.unet, mask) as record:
            tiny_backbone.predict(batch.latents, batch.timesteps, batch.embeds)
        return record.heatmap()

    def images() -> torch.Tensor:
        sampling = Sampling(2, lambda scheduler: make_scheduler(scheduler, "native"), chunk_size=8)
        items = [Item("a photo of a nurse", "nurse", index, "female") for index in range(2)]
        return sample_chunk(tiny_backbone, sampling, items, 0, focused(tiny_backbone))

    def vanilla() -> torch.Tensor:
        return tiny_backbone.predict(batch.latents, batch.timesteps, batch.embeds)

    def all_of_it() -> list[torch.Tensor]:
        return [recorded(), images(), *learnt(tiny_backbone, Localised(), batch), vanilla()]

    expected = all_of_it()
    compile_blocks(tiny_backbone.unet, graphs)  # type: ignore[arg-type]
    for _ in range(2):  # hooks come first, and then once more to what is compiled
        torch.testing.assert_close(all_of_it(), expected, rtol=1e-4, atol=1e-5)
        assert graphs.used()


def test_what_is_computed_twice_is_compiled_in_pieces_with_the_same_gradient(tiny_folder: Path, graphs: Graphs) -> None:
    backbone = load_backbone(tiny_folder, device="cpu", checkpointing=True)
    batch = noisy(backbone)
    expected = [learnt(backbone, objective, batch) for objective in (ScoreMatching(), Localised(scope="all"))]
    compile_blocks(backbone.unet, graphs)  # type: ignore[arg-type]
    assert not set(backbone.unet.up_blocks) & set(parts(backbone.unet))
    found = learnt(backbone, ScoreMatching(), batch)
    assert graphs.used()
    torch.testing.assert_close(found, expected[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(learnt(backbone, Localised(scope="all"), batch), expected[1], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_through_ahead_of_time_graphs(tiny_family: Callable[[str], Path], checkpointing: bool) -> None:
    backbone = load_backbone(tiny_family("sd14"), device="cpu", checkpointing=checkpointing)
    batch = noisy(backbone)
    expected = learnt(backbone, ScoreMatching(), batch)
    compile_blocks(backbone.unet, "aot_eager")
    try:
        torch.testing.assert_close(learnt(backbone, ScoreMatching(), batch), expected, rtol=1e-4, atol=1e-6)
    finally:
        torch._dynamo.reset()


def test_the_option_compiles_after_h_was_read_and_is_not_digested(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, graphs: Graphs
) -> None:
    monkeypatch.setattr(backbones, "compile_blocks", lambda unet: compile_blocks(unet, graphs))  # type: ignore[arg-type]
    assert "forward" not in load_backbone(tiny_folder, device="cpu").unet.down_blocks[0].__dict__
    backbone = load_backbone(tiny_folder, device="cpu", compile=True)
    assert backbone.h_shape == (16, 4, 4)
    assert not graphs.used()
    assert "forward" in backbone.unet.down_blocks[0].__dict__
    model = {"name": "tiny", "dtype": "auto"}
    assert config_digest({"model": {**model, "compile": True}}) == config_digest({"model": model})


@pytest.mark.parametrize("name", ["sd14", "sdxl"])
def test_gradients_are_the_same_and_less_is_kept(tiny_family: Callable[[str], Path], name: str) -> None:
    found = []
    for checkpointing in (False, True):
        backbone = load_backbone(tiny_family(name), device="cpu", checkpointing=checkpointing)
        torch.manual_seed(0)
        latents, vectors = torch.randn(2, *backbone.latent_shape), torch.randn(2, *backbone.h_shape).requires_grad_()
        batch = Noisy(
            latents=latents,
            timesteps=torch.tensor([300, 800]),
            embeds=backbone.encode_prompts(["a photo of a nurse", "a photo of a doctor"]),
            target=torch.randn_like(latents),
            maps=torch.rand(2, 1, 128, 128).round(),
        )
        kept = [0]

        def pack(tensor: torch.Tensor, kept: list[int] = kept) -> torch.Tensor:
            kept[0] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = Localised(scope="all")(backbone, vectors, batch).sum()
        loss.backward()
        assert vectors.grad is not None
        found.append((loss.detach(), vectors.grad, kept[0]))
    (loss, gradient, kept_all), (again, repeated, kept_few) = found
    torch.testing.assert_close(again, loss)
    torch.testing.assert_close(repeated, gradient)
    assert gradient.abs().max() > 0
    assert kept_few < kept_all / 3
