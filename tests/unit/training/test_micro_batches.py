"""A batch in parts gives the losses, the gradients and the trained vectors of the whole batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from benchmarks.recording import record_hspace
from hspace_exp.io.digest import config_digest
from hspace_exp.methods.learning import Noisy
from hspace_exp.methods.lwim import Localised
from hspace_exp.methods.score_matching import ScoreMatching
from hspace_exp.methods.sdid import Denoising
from hspace_exp.models.backbone import Backbone, load_backbone
from hspace_exp.models.split import encode
from hspace_exp.training.module import losses_of


def noisy(backbone: Backbone, rows: int) -> Noisy:
    random = torch.Generator().manual_seed(0)
    latents, target = torch.randn(2, rows, *backbone.latent_shape, generator=random)
    side = backbone.image_size
    maps = torch.rand(rows, 1, side, side, generator=random).round()
    prompts = [f"a photo of a {who}" for who in ("nurse", "doctor", "woman", "man", "person")[:rows]]
    embeds, positive = backbone.encode_prompts(prompts), backbone.encode_prompts(prompts[::-1])
    return Noisy(latents, 100 * torch.arange(1, rows + 1), embeds, target, maps, positive=positive)


@pytest.mark.parametrize("fixture", ["tiny_backbone", "tiny_sdxl_backbone"])
@pytest.mark.parametrize("objective", [Denoising(), ScoreMatching(), Localised(scope="all")])
def test_losses_and_gradients_are_those_of_the_whole_batch(
    fixture: str, objective: object, request: pytest.FixtureRequest
) -> None:
    backbone: Backbone = request.getfixturevalue(fixture)
    batch, weights = noisy(backbone, 5), torch.linspace(0.5, 2.0, 5)
    start = torch.randn(5, *backbone.h_shape, generator=torch.Generator().manual_seed(1))
    found = []
    for most in (None, 5, 2):
        backbone.micro_batch_size = most
        vectors = start.clone().requires_grad_()
        with record_hspace(backbone.unet) as seen:
            losses = losses_of(objective, backbone, vectors, batch)  # type: ignore[arg-type]
        (losses * weights).sum().backward()
        assert vectors.grad is not None
        assert max(len(h) for h in seen) <= (most or 5)
        found.append((losses.detach(), vectors.grad))
    for some in found[1:]:
        torch.testing.assert_close(some, found[0], rtol=1e-4, atol=1e-6)
    assert found[0][1].abs().amax((1, 2, 3)).min() > 0


def test_parts_of_kept_halves(tiny_backbone: Backbone) -> None:
    batch = noisy(tiny_backbone, 4)
    kept = replace(batch, encoded=encode(tiny_backbone, batch.latents, batch.timesteps, batch.embeds))
    vectors = torch.ones(4, *tiny_backbone.h_shape, requires_grad=True)
    whole = Denoising()(tiny_backbone, vectors, kept)
    tiny_backbone.micro_batch_size = 3
    torch.testing.assert_close(losses_of(Denoising(), tiny_backbone, vectors, kept), whole, rtol=1e-4, atol=1e-6)


def test_memory_of_activations_is_that_of_a_part(tiny_backbone: Backbone) -> None:
    kept = {}
    for most in (None, 1):
        tiny_backbone.micro_batch_size, now = most, [0, 0]

        class Held:
            def __init__(self, tensor: torch.Tensor, now: list[int] = now) -> None:
                self.tensor, self.now = tensor, now
                now[0] += tensor.nbytes
                now[1] = max(now)

            def __del__(self) -> None:
                self.now[0] -= self.tensor.nbytes

        vectors = torch.ones(4, *tiny_backbone.h_shape, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
            losses_of(Denoising(), tiny_backbone, vectors, noisy(tiny_backbone, 4)).sum().backward()
        kept[most] = now[1]
    assert kept[1] < kept[None] / 2


@pytest.mark.parametrize(
    ("device", "small", "most", "rows"),
    [("cpu", True, None, 64), ("cuda", False, None, 64), ("cuda", True, None, 512), ("cuda", True, 4, 8)],
)
def test_a_gpu_gets_many_rows_of_a_small_unet(device: str, small: bool, most: int | None, rows: int) -> None:
    backbone = SimpleNamespace(device=torch.device(device), small=small, micro_batch_size=most)
    assert Backbone.rows_without_gradient.fget(cast(Backbone, backbone)) == rows  # type: ignore[attr-defined]


def test_the_option_bounds_other_passes_too_and_is_not_digested(tiny_folder: Path) -> None:
    assert load_backbone(tiny_folder, device="cpu").rows_without_gradient == 64
    assert load_backbone(tiny_folder, device="cpu", micro_batch_size=3).rows_without_gradient == 6
    assert config_digest({"model": {"name": "m", "micro_batch_size": 4}}) == config_digest({"model": {"name": "m"}})
