"""The focused edit with foresight: the unedited run comes first, and is read when it is done.

What an image will present is decided late, so an edit that goes along with the unedited run (``FocusedEdit``) guesses
in its first steps whether it is needed. Here the unedited run ends first. Its last h tells what is there, its attention
where, and images that show their target already are left alone to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.concepts.method import LowFrequency
from hspace_exp.edits.presence import Presence
from hspace_exp.edits.steering import SampleRows, Steering, Strength, Window, check_targets, strength_of, within
from hspace_exp.models.attention_gate import AttentionGate, open_attention_gate
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit, edit_hspace, record_hspace
from hspace_exp.plan import Item

LEAST_NEED = 0.1  # below it an image counts as showing its target
Hooks = Callable[[float], AbstractContextManager[object]]


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

    def rows(self, rows: Tensor) -> Seen:
        """Those of some samples."""
        copies = len(self.states[0]) // len(self.latents)
        both = torch.cat([rows + half * len(self.latents) for half in range(copies)])
        gate = None if self.gate is None else self.gate[rows]
        return Seen(self.latents[rows], [state[both] for state in self.states], gate)

    @property
    def last(self) -> Tensor:
        """(B, C, H, W) float32 h of the last step, the conditional half."""
        return self.states[-1][-len(self.latents) :].float()


@dataclass(frozen=True)
class Asked:
    """What is added to h of B samples where the gate is open.

    Attributes:
        need: (B,) in [0, 1].
        vectors: (B, C, H, W) sum of need * s * v, and of need * keep * p_c * v_c of the other attributes.
    """

    need: Tensor
    vectors: Tensor


@dataclass(frozen=True)
class ForesightEdit:
    """A batch's focused edit with foresight; attributes as of ``FocusedEdit``, and of ``Focus``.

    Attributes:
        concepts: that can be asked for, by name; those of one attribute exclude each other.
        others: groups of further concepts, for ``keep``.
        strength: s, one number or one a concept.
        branch: ``both`` halves of guidance or the ``conditional`` one.
        open_gate: (backbone, samples, row of the first in the batch) → a gate that reads their rows, or None.
        hold: how far h is pulled back to the unedited run's inside the gate while vectors act; None: not at all.
        release: after the window h is free inside the gate; else it is held there as before.
        adaptive: need as the unedited run's last h tells it; else 1.
        keep: strength at which the other attributes are held.
        sharpness: of probabilities, see ``Presence``.
        window: the steps in which vectors act.
        frequency: a low-frequency term on top, of the unedited run's h.
    """

    concepts: Mapping[str, Concept]
    others: Mapping[str, Mapping[str, Concept]]
    strength: Strength
    branch: str
    open_gate: Callable[[Backbone, int, int], AttentionGate | None]
    hold: float | None = 0.5
    release: bool = True
    adaptive: bool = True
    keep: float = 1.0
    sharpness: float = 2.0
    window: Window = field(default_factory=Window)
    frequency: LowFrequency = field(default_factory=LowFrequency)

    def __call__(self, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``, which conducts its sampling runs itself."""
        check_targets(items, self.concepts)

        def conduct(sample: SampleRows) -> Tensor:
            return self._edited(backbone, items, guided, sample)

        return Steering(conduct=conduct)

    def _edited(self, backbone: Backbone, items: Sequence[Item], guided: bool, sample: SampleRows) -> Tensor:
        """(B, C', H', W') latents: the unedited run's where nothing is needed."""
        seen = self._look(backbone, len(items), guided, sample)
        asked = self._asked(items, seen.last)
        latents = seen.latents.clone()
        rows = (asked.need >= LEAST_NEED).nonzero()[:, 0]
        if len(rows):
            latents[rows] = self._run(backbone, guided, sample, seen.rows(rows), asked.vectors[rows], rows)
        return latents

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
        steps = len(seen.states)
        inside = HEdit(
            vector=vectors,
            gate=seen.gate,
            hold=self.hold,
            original=seen.states[0],
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
            return edit_hspace(backbone.unet, replace(edit, original=seen.states[round(done * steps)]))

        return sample(hooks, rows)

    def _asked(self, items: Sequence[Item], last: Tensor) -> Asked:
        """What each sample is asked for, by the last h of its unedited run."""
        device, shape = last.device, last.shape[1:]
        vectors, needs = torch.zeros_like(last), []
        for attribute in sorted({concept.attribute for concept in self.concepts.values()}):
            some = {name: concept for name, concept in self.concepts.items() if concept.attribute == attribute}
            names = [item.target for item in within(items, some)]
            index = torch.tensor([list(some).index(name) if name else 0 for name in names], device=device)
            need = torch.tensor([float(bool(name)) for name in names], device=device)
            if self.adaptive and len(some) > 1:
                own = Presence.of(list(some.values()), device, self.sharpness)
                need = need * (2 * (1 - own(last).gather(1, index[:, None])[:, 0])).clamp(max=1)
            size = torch.tensor([strength_of(self.strength, name) if name else 0.0 for name in names], device=device)
            stack = torch.stack([concept.vector for concept in some.values()]).to(device).expand(-1, *shape)
            vectors = vectors + (need * size)[:, None, None, None] * stack[index]
            needs.append(need)
        need = torch.stack(needs).amax(0)
        for group in self.others.values() if self.keep else ():
            presence = Presence.of(list(group.values()), device, self.sharpness)
            share = self.keep * need[:, None] * presence(last)
            vectors = vectors + torch.einsum("bk,kchw->bchw", share, presence.vectors.expand(-1, *shape))

        return Asked(need, vectors)
