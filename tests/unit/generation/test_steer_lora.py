"""LoRA by peft, loaded, weighed, fused and taken away by diffusers itself while ``steer`` is active."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import peft
import pytest
import torch
from torch import Tensor

from hspace_exp import Concept, steer
from hspace_exp.models.hspace import edit_hspace

VECTOR = torch.randn(16, 4, 4, generator=torch.Generator().manual_seed(1))
CONCEPT = Concept(VECTOR, "female", "gender", "tiny", "abc", (16, 4, 4), "sdid", hyperparameters={"branch": "both"})


def load(folder: Path) -> Any:
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def lora(tiny_folder: Path, tmp_path: Path) -> Path:
    """Random weights of every attention and every convolution of a resnet, as a training script leaves them."""
    unet, random = load(tiny_folder).unet, torch.Generator().manual_seed(2)
    unet.add_adapter(peft.LoraConfig(r=2, lora_alpha=4, target_modules=["to_q", "to_k", "to_v", "to_out.0", "conv1"]))
    state = peft.get_peft_model_state_dict(unet)
    state = {name: 0.3 * torch.randn(some.shape, generator=random) for name, some in state.items()}
    kind = diffusers.StableDiffusionPipeline
    kind.save_lora_weights(tmp_path / "lora", unet_lora_layers=state)
    return tmp_path / "lora"


def latents(pipe: Any) -> Tensor:
    given = {"num_inference_steps": 3, "output_type": "latent", "generator": torch.Generator().manual_seed(3)}
    return pipe(["a photo of a doctor", "a photo of a nurse"], **given).images


def by_rule(pipe: Any) -> Tensor:
    with edit_hspace(pipe.unet, lambda h: h + 1.5 * VECTOR):
        return latents(pipe)


STATES: dict[str, Callable[[Any, Path], None]] = {
    "loaded": lambda pipe, lora: pipe.load_lora_weights(lora, adapter_name="x"),
    "weighed": lambda pipe, lora: pipe.set_adapters(["x"], [0.5]),
    "fused": lambda pipe, lora: pipe.fuse_lora(lora_scale=0.7),
    "separated": lambda pipe, lora: pipe.unfuse_lora(),
    "gone": lambda pipe, lora: pipe.unload_lora_weights(),
}


def test_lora_comes_and_goes_inside_of_the_context(tiny_folder: Path, lora: Path) -> None:
    pipe, other = load(tiny_folder), load(tiny_folder)
    vanilla, edited = latents(other), by_rule(other)
    with steer(pipe, [(CONCEPT, 1.5)]):
        seen = {"plain": latents(pipe)}
        torch.testing.assert_close(seen["plain"], edited, rtol=1e-4, atol=1e-4)
        for name, change in STATES.items():
            change(pipe, lora)
            change(other, lora)
            seen[name] = latents(pipe)
            torch.testing.assert_close(seen[name], by_rule(other), rtol=1e-4, atol=1e-4)
    for one, two in (("plain", "loaded"), ("loaded", "weighed"), ("weighed", "fused")):
        assert (seen[one] - seen[two]).abs().max() > 1e-2
    torch.testing.assert_close(latents(pipe), vanilla, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fused", [False, True])
def test_outside_of_the_context_is_what_the_lora_makes_alone(tiny_folder: Path, lora: Path, fused: bool) -> None:
    pipe = load(tiny_folder)
    pipe.load_lora_weights(lora)
    if fused:
        pipe.fuse_lora()
    alone = latents(pipe)
    with steer(pipe, [(CONCEPT, 1.5)]):
        assert (latents(pipe) - alone).abs().max() > 1e-2
    assert torch.equal(latents(pipe), alone)
