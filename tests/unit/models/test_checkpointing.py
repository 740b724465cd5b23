"""Checkpointing changes what is kept, not what comes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hspace_exp.methods.objectives import Localised, Noisy
from hspace_exp.models.backbone import load_backbone

# Of diffusers' Euler scheduler, with this NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


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


def test_large_images_go_through_the_vae_one_by_one(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, sizes = load_backbone(tiny_folder, device="cpu"), []
    whole = backbone.decode_latents(torch.ones(5, *backbone.latent_shape))
    honest = backbone.vae.decode
    monkeypatch.setattr(backbone.vae, "decode", lambda z: sizes.append(len(z)) or honest(z))
    monkeypatch.setattr("hspace_exp.models.backbone.VAE_PIXELS", 2 * 32**2)
    torch.testing.assert_close(backbone.decode_latents(torch.ones(5, *backbone.latent_shape)), whole)
    assert sizes == [2, 2, 1]
    assert backbone.encode_images(whole).shape == (5, *backbone.latent_shape)
