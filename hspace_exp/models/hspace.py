"""Steer and read h-space: the output of a U-Net's middle block, or what else a ``Site`` names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hspace_exp.errors import UserError
from hspace_exp.models.sites import MID_BLOCK, Site, joined

BRANCHES = ("both", "conditional")
Field = Callable[[Tensor], Tensor]


@dataclass
class HEdit:
    """h' = a + (1 - (1 - hold) * G) * (o - a) + s * G * v + lambda * LL(o) with a = m * h, sample by sample.

    Without ``hold`` its term is left out: h' = m * h + s * G * v + lambda * LL(o), which with G = 1 is the inference
    rule of Shokrolahi et al. (2026) and, with ``attenuation``, their training rule. o is the source of a sample: its h
    in the unedited run, or else its own before any edit. B is the number of samples; a guided batch holds 2 B rows,
    laid out [unconditional; conditional]. Nothing leaves the device.
    """

    vector: Tensor | None = None  # v, (C, 1, 1) or (C, H, W), or one a sample with a leading B; gradients flow to it
    strength: Tensor | float = 1.0  # s, a number or (B,)
    attenuation: Tensor | None = None  # m in [0, 1], (B, 1, H, W) at h's own size; training only
    lowpass: Field | None = None  # LL, a function of (B, C, H, W) such as ``haar_lowpass``
    lowpass_weight: Tensor | float = 0.0  # lambda, a number or (B,)
    original: Tensor | None = None  # (B or 2 B, C, H, W) the source o as an unedited run had it; None: h as it is
    guided: bool = False  # whether batches are laid out [unconditional; conditional]
    # ``both`` halves of guidance are edited, or the ``conditional`` one alone, where v acts about guidance_scale times
    # as strongly; without guidance there is only that half
    branch: str = "both"
    lowpass_branch: str | None = None  # the same for the low-frequency term, which guidance would multiply, too
    gate: Tensor | None = None  # G in [0, 1], (B, 1, H, W) at h's own size; None is 1
    # in [0, 1], pulls h back to the source before v is added: outside the gate all the way, inside by this share
    hold: float | None = None

    def __post_init__(self) -> None:
        """Check what can be checked before a batch is seen."""
        if self.vector is not None and self.vector.ndim not in (3, 4):
            raise UserError(f"expected a concept vector (C, 1, 1) or (C, H, W), got {tuple(self.vector.shape)}")
        if self.hold is not None and self.original is None:
            raise UserError("hold pulls h back to an unedited run: say its h, original")

    def __call__(self, h: Tensor) -> Tensor:
        """Apply to h (B or 2 B, C, H, W); computed in at least float32, returned in h's type."""
        rows = h.shape[0]
        if self.guided and rows % 2:
            raise UserError(f"expected a guided batch [unconditional; conditional] of even size, got {rows} rows")
        samples = rows // 2 if self.guided else rows
        original = h if h.dtype == torch.float64 else h.float()
        if self.original is not None and self.original.shape != h.shape:
            given = f"{tuple(self.original.shape)} for h of {tuple(h.shape)}"
            raise UserError(f"expected an original of h's own shape, got {given}")
        source = original if self.original is None else self.original.to(original)
        gate = 1.0 if self.gate is None else self._rows("gate", self.gate, samples, original)
        edited = original
        if self.attenuation is not None:
            edited = edited * self._rows("attenuation", self.attenuation, samples, original)
        if self.hold is not None:
            edited = edited + (1 - (1 - self.hold) * gate) * (source - edited)
        if self.vector is not None:
            strength = self._amount("strength", self.strength, self.branch, samples, original)
            edited = edited + strength * gate * self._vector(self.vector, samples, original)
        if self.lowpass is not None:
            branch = self.lowpass_branch or self.branch
            weight = self._amount("lowpass_weight", self.lowpass_weight, branch, samples, original)
            edited = edited + weight * self.lowpass(source)
        return edited.to(h.dtype)

    def part(self, widths: Sequence[int], place: int) -> HEdit:
        """The edit of one of several modules' channels, so many each."""
        if len(widths) < 2:
            return self
        start = sum(widths[:place])
        own = slice(start, start + widths[place])
        vector, original = (None if x is None else x[..., own, :, :] for x in (self.vector, self.original))
        return replace(self, vector=vector, original=original)

    def _vector(self, vector: Tensor, samples: int, like: Tensor) -> Tensor:
        sizes, whole = tuple(vector.shape[-3:]), tuple(like.shape[1:])
        if sizes[0] != whole[0] or any(size not in (1, n) for size, n in zip(sizes[1:], whole[1:], strict=True)):
            raise UserError(f"concept vector {sizes} does not fit this model's h {whole}: retrain it")
        return vector.to(like) if vector.ndim == 3 else self._rows("vector", vector, samples, like)

    def _amount(self, name: str, value: Tensor | float, branch: str, samples: int, like: Tensor) -> Tensor | float:
        """How much of a term each row gets: none on the unconditional half where only the conditional one is edited."""
        if isinstance(value, Tensor):
            value = self._rows(name, value, samples, like).reshape(-1, 1, 1, 1) if value.ndim else value.to(like)
        if not self.guided or branch == "both":
            return value
        acts = like.new_ones(2 * samples, 1, 1, 1)
        acts[:samples] = 0.0
        return value * acts

    def _rows(self, name: str, value: Tensor, samples: int, like: Tensor) -> Tensor:
        """One row a sample, repeated for both halves of guidance."""
        if value.shape[0] != samples:
            raise UserError(f"expected {name} with {samples} rows, one a sample, got shape {tuple(value.shape)}")
        value = value.to(like.device, like.dtype)
        return torch.cat([value, value]) if self.guided else value


@contextmanager
def edit_hspace(network: nn.Module, edit: Callable[[Tensor], Tensor | None], site: Site = MID_BLOCK) -> Iterator[None]:
    """Apply ``edit`` (an ``HEdit``, or any function of h; None leaves h) in every forward pass inside the context.

    Nothing before the site sees the edit, so when a vector is trained autograd builds no graph there. At a site of
    several modules an ``HEdit`` acts on each one's channels; other functions read them all together, and edit nothing.
    Outside the context, also after an exception, the network is bit for bit what it was.
    """
    seen: list[Tensor] = []

    def at(place: int, features: Tensor) -> Tensor | None:
        h = site.to_map(features)
        if len(site.modules) == 1 or isinstance(edit, HEdit):
            edited = edit.part(site.widths, place)(h) if isinstance(edit, HEdit) else edit(h)
            return None if edited is None else site.from_map(edited)
        seen.append(h)
        if place == len(site.modules) - 1:
            if edit(joined(seen)) is not None:
                raise UserError(f"this edit acts at one block only: choose a site of one, got {site.name}")
            seen.clear()
        return None

    def before(place: int, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        edited = at(place, args[0])
        return None if edited is None else (edited, *args[1:])

    def after(place: int, module: nn.Module, args: object, output: Any) -> Any:
        *text, features = output if isinstance(output, tuple) else (output,)  # joint blocks give both, the text first
        edited = at(place, features)
        return edited if edited is None or not isinstance(output, tuple) else (*text, edited)

    with ExitStack() as hooks:
        for place, name in enumerate(site.modules):
            module = network.get_submodule(name)
            if site.inputs:
                hooks.callback(module.register_forward_pre_hook(partial(before, place)).remove)
            else:
                hooks.callback(module.register_forward_hook(partial(after, place)).remove)
        yield
