"""The focused edit with foresight: the unedited run comes first, and is read when it is done.

What an image will present is decided late, so an edit that goes along with the unedited run (``FocusedEdit``) guesses
in its first steps whether it is needed. Here the unedited run ends first. Its last h tells what is there, its attention
where, and images that show their target already are left alone to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from hspace_exp.methods.base import LowFrequency
from hspace_exp.methods.need import Asks
from hspace_exp.methods.steering import SampleRows, Steering, Window
from hspace_exp.models.attention_gate import AttentionGate, open_attention_gate
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit, edit_hspace, record_hspace
from hspace_exp.prompts.plan import Item

LEAST_NEED = 0.1  # below it an image counts as showing its target


@dataclass(frozen=True)
class Seen:
    """What an unedited run of B samples left behind.

    Attributes:
        latents: (B, C', H', W') its end.
        states: h of every step, (B or 2 B, C, H, W) as the batch is laid out.
        gate: (B, 1, H, W) in [0, 1], or None: open everywhere.
    """

    latents: Tensor
    states: Sequence[Tensor]
    gate: Tensor | None

    @property
    def last(self) -> Tensor:
        """(B, C, H, W) float32 h of the last step, the conditional half."""
        return self.states[-1][-len(self.latents) :].float()


@dataclass(frozen=True)
class ForesightEdit:
    """A batch's focused edit with foresight.

    Attributes:
        asking: (items, device) → what they are asked for, as a function of h_0.
        open_gate: (backbone, samples, row of the first in the batch) → a gate that reads their rows, or None.
        branch: ``both`` halves of guidance or the ``conditional`` one.
        hold: how far h is pulled back to the unedited run's inside the gate while vectors act; None: not at all.
        release: after the window h is free inside the gate; else it is held there as before.
        window: the steps in which vectors act.
        frequency: a low-frequency term on top, of the unedited run's h.
    """

    asking: Callable[[Sequence[Item], torch.device], Asks]
    open_gate: Callable[[Backbone, int, int], AttentionGate | None]
    branch: str
    hold: float | None = 0.5
    release: bool = True
    window: Window = field(default_factory=Window)
    frequency: LowFrequency = field(default_factory=LowFrequency)

    def __call__(self, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``, which conducts its sampling runs itself."""
        asks = self.asking(items, backbone.device)

        def conduct(sample: SampleRows) -> Tensor:
            seen = self._look(backbone, len(items), guided, sample)
            need, vectors = asks(seen.last)
            latents = seen.latents.clone()
            rows = (need >= LEAST_NEED).nonzero()[:, 0]
            if len(rows):
                latents[rows] = self._run(backbone, guided, sample, seen, vectors, rows)
            return latents

        return Steering(conduct=conduct)

    def _look(self, backbone: Backbone, count: int, guided: bool, sample: SampleRows) -> Seen:
        """The unedited run."""
        gate = self.open_gate(backbone, count, count if guided else 0)
        states: list[Tensor] = []

        def hooks(done: float) -> AbstractContextManager[object]:
            stack = ExitStack()
            if gate is not None:
                stack.enter_context(open_attention_gate(backbone.unet, gate))
            states_of_step = stack.enter_context(record_hspace(backbone.unet))
            stack.callback(lambda: states.extend(states_of_step))
            return stack

        latents = sample(hooks)
        return Seen(latents, states, None if gate is None else gate())

    def _run(
        self, backbone: Backbone, guided: bool, sample: SampleRows, seen: Seen, vectors: Tensor, rows: Tensor
    ) -> Tensor:
        """Latents of the edited run of ``rows``."""
        of_batch = torch.cat([rows, rows + len(seen.latents)]) if guided else rows
        inside = HEdit(
            vector=vectors[rows],
            gate=None if seen.gate is None else seen.gate[rows],
            hold=self.hold,
            original=seen.states[0][of_batch],
            guided=guided,
            branch=self.branch,
            lowpass=self.frequency.transform if self.frequency.weight else None,
            lowpass_weight=self.frequency.weight,
            lowpass_branch=self.frequency.branch,
        )
        free = 0.0 if self.release and self.hold is not None else self.hold
        outside = replace(inside, vector=None, hold=free)

        def hooks(done: float) -> AbstractContextManager[object]:
            edit = inside if done in self.window else outside
            original = seen.states[round(done * len(seen.states))][of_batch]
            return edit_hspace(backbone.unet, replace(edit, original=original))

        return sample(hooks, rows)
