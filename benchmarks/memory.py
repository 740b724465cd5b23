"""How much GPU memory a model takes, from its shapes alone: nothing is loaded and nothing is computed."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import diffusers
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from benchmarks.layouts import Layout
from hspace_exp.models.backbone import VAE_PIXELS
from hspace_exp.models.blocks import checkpoint_second_half
from hspace_exp.models.hspace import edit_hspace
from hspace_exp.models.split import first_half

# What the CUDA context, the workspaces of libraries and the allocator's unused blocks take.
OVERHEAD = 2**30
_TOKENS = 77


@dataclass(frozen=True)
class Estimate:
    """Bytes on the GPU.

    Attributes:
        weights: of all parts: U-Net and text encoders in 16 bits, VAE in 32.
        training: peak of a training step, weights included.
        generation: peak of guided sampling, weights included.
        decoding: peak of turning latents into images, weights included.
        state: of the first half of the U-Net at one latent, in 16 bits, where it is kept (``models.split``).
    """

    weights: int
    training: int
    generation: int
    decoding: int
    state: int


def estimate(layout: Layout, *, rows: int = 16, chunk: int = 8, runs: int = 2, checkpointing: bool = True) -> Estimate:
    """Memory of a model in 16 bits.

    Args:
        layout: its shapes.
        rows: of a training batch that are in memory at a time: concepts times images of each, or ``micro_batch_size``.
        chunk: images sampled at once.
        runs: of each image, 2 where an unedited one runs beside the edited one; guidance doubles them again.
        checkpointing: see ``load_backbone``.
    """
    with torch.device("meta"):
        unet: Any = _half(_frozen(diffusers.UNet2DConditionModel(**layout.unet)))
        vae: Any = _frozen(diffusers.AutoencoderKL(**layout.vae))
        classes = (CLIPTextModel, CLIPTextModelWithProjection)
        texts = [_half(_frozen(cls(CLIPTextConfig(**text)))) for cls, text in zip(classes, layout.texts, strict=False)]
        weights = sum(p.nbytes for module in (unet, vae, *texts) for p in module.parameters())
        side = int(layout.unet["sample_size"])
        images = max(1, VAE_PIXELS // layout.image_size**2)
        with torch.no_grad():
            with _live() as sampling:
                _predict(unet, layout, 2 * runs * chunk)
            with _live() as decoding:
                vae.decode(torch.empty(images, 4, side, side))
            state = first_half(unet, lambda: _predict(unet, layout, 1)).bytes_a_row
        if checkpointing:
            checkpoint_second_half(unet)
        with _live() as training:
            vector = torch.empty(layout.unet["block_out_channels"][-1], 1, 1, requires_grad=True)
            with edit_hspace(unet, lambda h: (h + vector).to(h.dtype)):
                _predict(unet, layout, rows).float().square().mean().backward()
    fixed = weights + OVERHEAD
    return Estimate(weights, fixed + training.peak, fixed + sampling.peak, fixed + decoding.peak, state)


def _frozen(module: torch.nn.Module) -> torch.nn.Module:
    return module.eval().requires_grad_(False)


def _half(module: torch.nn.Module) -> torch.nn.Module:
    return torch.nn.Module.to(module, torch.bfloat16)  # diffusers' own warns of any cast


def _predict(unet: Any, layout: Layout, rows: int) -> Tensor:
    side, added = int(layout.unet["sample_size"]), None
    if len(layout.texts) > 1:
        pooled = torch.empty(rows, layout.texts[-1]["projection_dim"], dtype=torch.bfloat16)
        added = {"text_embeds": pooled, "time_ids": torch.empty(rows, 6)}
    found: Tensor = unet(
        torch.empty(rows, 4, side, side, dtype=torch.bfloat16),
        torch.empty(rows, dtype=torch.long),
        encoder_hidden_states=torch.empty(rows, _TOKENS, layout.unet["cross_attention_dim"], dtype=torch.bfloat16),
        added_cond_kwargs=added,
    ).sample
    return found


class _Fused(torch.autograd.Function):
    """What fused attention keeps: queries, keys, values and output, no matrix of weights."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        query, key, value, _ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


class _Live(TorchDispatchMode):
    """Adds up the storages that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor):
                self._see(tensor.untyped_storage(), given)
        return found

    def _see(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        key = storage._cdata
        if key in self._known or key in given:
            return
        self._known.add(key)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key, storage.nbytes())

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


@contextmanager
def _live() -> Iterator[_Live]:
    def fused(query: Tensor, key: Tensor, value: Tensor, *args: Any, **options: Any) -> Tensor:
        found: Tensor = _Fused.apply(query, key, value)
        return found

    with patch.object(F, "scaled_dot_product_attention", fused), _Live() as live:
        yield live
