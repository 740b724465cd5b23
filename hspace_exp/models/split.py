"""The U-Net in two halves at h, so that what lies before h is computed once for a fixed set of noisy latents."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hspace_exp.models.backbone import Backbone
from hspace_exp.models.prompts import PromptEmbeds


@dataclass(frozen=True)
class Encoded:
    """What the second half of the U-Net needs of N noisy latents, on any device."""

    h: Tensor  # (N, C, H, W) output of the middle block
    skips: tuple[Tensor, ...]  # (N, ...) skip connections, in the order in which the first half makes them
    embedding: Tensor  # (N, E) of time (and size, for SDXL)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Encoded:
        return Encoded(function(self.h), tuple(map(function, self.skips)), function(self.embedding))

    def index(self, rows: Tensor | slice) -> Encoded:
        """The chosen rows, in the order given."""
        return self._map(lambda x: x[rows])

    def to(self, device: torch.device, dtype: torch.dtype) -> Encoded:
        """All rows, moved."""
        return self._map(lambda x: x.to(device, dtype))

    @property
    def bytes_a_row(self) -> int:
        """Memory that one row takes."""
        return sum(t[0].numel() * t.element_size() for t in (self.h, *self.skips, self.embedding))

    @staticmethod
    def cat(parts: list[Encoded]) -> Encoded:
        """Rows of several, in order."""
        skips = zip(*(part.skips for part in parts), strict=True)
        h, embedding = torch.cat([part.h for part in parts]), torch.cat([part.embedding for part in parts])
        return Encoded(h, tuple(torch.cat(same) for same in skips), embedding)


class Reached(Exception):
    """Raised behind the middle block, to end a forward pass whose second half is not wanted."""


@torch.no_grad()
def encode(backbone: Backbone, latents: Tensor, timesteps: Tensor, embeds: PromptEmbeds) -> Encoded:
    """Run the network as far as h, without any edit; arguments are those of ``Backbone.predict``.

    Of a transformer there is h alone: what follows a site cannot be run from there.
    """
    found: list[Tensor] = []

    def reach(h: Tensor) -> None:
        found.append(h)
        raise Reached

    def forward() -> object:
        return backbone.predict(latents, timesteps, embeds)

    if backbone.is_transformer:
        with backbone.edited(reach), suppress(Reached):
            forward()
        return Encoded(found[0], (), found[0].new_empty(len(latents), 0))
    halves = first_half(backbone.unet, forward)
    return Encoded(halves.h, halves.skips, halves.embedding.expand(len(latents), -1))


def first_half(unet: Any, forward: Callable[[], object]) -> Encoded:  # noqa: ANN401 (a diffusers class)
    """What ``forward`` (a call of the U-Net) hands to the second half; it ends there."""
    skips: list[Tensor] = []
    found: dict[str, Tensor] = {}

    def first(module: Any, args: Any, output: Tensor) -> None:  # noqa: ANN401 (hooks take what modules take)
        skips.append(output)

    def down(module: Any, args: Any, output: tuple[Tensor, tuple[Tensor, ...]]) -> None:  # noqa: ANN401
        skips.extend(output[1])

    def middle(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:  # noqa: ANN401
        found["h"], found["embedding"] = output, args[1] if len(args) > 1 else kwargs["temb"]
        raise Reached

    with ExitStack() as hooks:
        hooks.callback(unet.conv_in.register_forward_hook(first).remove)
        for block in unet.down_blocks:
            hooks.callback(block.register_forward_hook(down).remove)
        hooks.callback(unet.mid_block.register_forward_hook(middle, with_kwargs=True).remove)
        with suppress(Reached):
            forward()
    return Encoded(found["h"], tuple(skips), found["embedding"])


def decode(backbone: Backbone, encoded: Encoded, h: Tensor, embeds: PromptEmbeds) -> Tensor:
    """Run the rest of the U-Net from ``h`` (N, C, H, W), in the place of ``encoded.h``; gradients flow to it.

    What was encoded is on the model's device and in its type; prompts are for cross-attention behind h. Gives
    (N, C, H, W) float32, as ``Backbone.predict`` would with that h.
    """
    unet, hidden, skips = backbone.unet, h.to(backbone.dtype), encoded.skips
    context = embeds.encoder_hidden_states.to(backbone.dtype)
    for block in unet.up_blocks:
        count = len(block.resnets)
        own, skips = skips[-count:], skips[:-count]
        attends = getattr(block, "has_cross_attention", False)
        options: dict[str, Any] = {"encoder_hidden_states": context} if attends else {}
        if skips:  # sizes that do not halve evenly are upsampled to that of the next skip connection
            options["upsample_size"] = skips[-1].shape[2:]
        hidden = block(hidden_states=hidden, temb=encoded.embedding, res_hidden_states_tuple=own, **options)
    return unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden))).float()
