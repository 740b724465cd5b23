"""Our own edit: the vector acts where the attribute shows, only where it is needed, and all else is held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError
from hspace_exp.methods.base import LowFrequency, Method
from hspace_exp.methods.foresight import ForesightEdit
from hspace_exp.methods.need import Asks, asking
from hspace_exp.methods.steering import Edit, Steering, Strength, Window
from hspace_exp.models.attention_gate import AttentionGate, open_attention_gate
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit, edit_hspace
from hspace_exp.prompts.attributes import Concepts
from hspace_exp.prompts.plan import Item


@dataclass(frozen=True)
class Focus:
    """The parts of the focused edit, each a switch.

    With h_0 the h of the unedited run of the same noise, which goes along in the batch, and G the soft gate that its
    cross-attention gives: h' = h + (1 - (1 - hold) G) (h_0 - h) + G need (s v + keep sum_c p_c(h_0) v_c).

    Attributes:
        gate: share of the peak of attention at which the gate is open; None: G = 1 everywhere.
        hold: how far h is pulled back to h_0 inside the gate (outside it is h_0); None: h is left alone everywhere.
        adaptive: need = min(1, 2 (1 - p_target(h_0))): what shows the target already needs no edit; else need = 1, as
            for a concept that is alone in its attribute.
        keep: strength at which the other attributes of the person are asked to stay as h_0 shows them, where there is
            need of an edit at all; 0: not at all. Of a composition the largest need counts.
        sharpness: of the probability p of the target, see ``Presence``: a low one edits where h is not sure.
        keep_sharpness: of the probabilities of what is kept: a high one holds what h shows, a low one mixes.
        foresight: the unedited run comes first and its last h says what is needed, see ``ForesightEdit``; else it goes
            along, and every step's h says it anew.
        release: with foresight, h is free inside the gate after the method's window.
    """

    gate: float | None = 0.3
    hold: float | None = 0.5
    adaptive: bool = True
    keep: float = 0.5
    sharpness: float = 2.0
    keep_sharpness: float = 2.0
    foresight: bool = False
    release: bool = False

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.release and not self.foresight:
            raise UserError("release needs foresight: set method.edit.foresight=true, or method.edit.release=false")
        if self.keep < 0:
            raise UserError(f"expected keep of at least 0, got {self.keep}")

    @property
    def keeps(self) -> bool:
        """Whether other attributes are held fast."""
        return self.keep > 0

    @property
    def composes(self) -> bool:
        """Vectors add up, each with the need of its own attribute; the gate opens for the words of all."""
        return True

    def make(
        self,
        method: Method,
        prompts: Concepts,
        concepts: Mapping[str, Concept],
        others: Mapping[str, Mapping[str, Concept]],
        frequency: LowFrequency,
    ) -> Edit:
        """The edit, see ``MakeEdit``."""
        words = {name: (some.positive, some.words) for name, some in prompts.items()}
        strengths, window = method.strengths(prompts), Window(*method.window)
        along = FocusedEdit(concepts, others, words, strengths, method.branch, self, frequency, window)
        if not self.foresight:
            return along
        return ForesightEdit(along.asking, along.open_gate, method.branch, self.hold, self.release, window, frequency)


@dataclass(frozen=True)
class FocusedEdit:
    """A batch's focused edit.

    Attributes:
        concepts: that can be asked for, by name; those of one attribute exclude each other.
        others: groups of further concepts, each a mapping by name, for ``focus.keep``.
        words: concept → its positive prompt and the words in it that carry the attribute, for the gate.
        strength: s, one number or one a concept.
        branch: ``both`` halves of guidance or the ``conditional`` one.
        focus: the parts.
        frequency: a low-frequency term on top.
        window: the steps in which vectors are added; the gate opens and h is held in all steps.
    """

    concepts: Mapping[str, Concept]
    others: Mapping[str, Mapping[str, Concept]]
    words: Mapping[str, tuple[str, str]]
    strength: Strength
    branch: str
    focus: Focus = field(default_factory=Focus)
    frequency: LowFrequency = field(default_factory=LowFrequency)
    window: Window = field(default_factory=Window)

    def __call__(self, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``; their unedited runs go along."""
        count, device = len(items), backbone.device
        gate = self.open_gate(backbone, count, 2 * count if guided else 0)
        steered = torch.tensor([0.0] * count + [float(bool(item.target)) for item in items], device=device)
        common: dict[str, Any] = {
            "guided": guided,
            "branch": self.branch,
            "gate": None if gate is None else gate_of_pairs(gate),
            "hold": self.focus.hold,
            "original_index": torch.arange(count, device=device).repeat(2),
            "lowpass_weight": self.frequency.weight * steered,
            "lowpass": self.frequency.transform if self.frequency.weight else None,
            "lowpass_branch": self.frequency.branch,
        }
        inside = HEdit(vector=self._fields(items, device), strength=steered, **common)
        outside = HEdit(**common)

        def hooks(done: float) -> AbstractContextManager[object]:
            return _entered(backbone, gate, inside if done in self.window else outside)

        return Steering(hooks, paired=True)

    def open_gate(self, backbone: Backbone, count: int, first: int) -> AttentionGate | None:
        """A gate that reads ``count`` rows of the batch, from row ``first`` on: the unedited runs' conditional ones."""
        if self.focus.gate is None:
            return None
        pairs = list(dict.fromkeys(self.words.values()))
        embeds = backbone.encode_prompts([prompt for prompt, _ in pairs])
        tokens = torch.stack([backbone.word_mask(prompt, words) for prompt, words in pairs])
        rows = torch.arange(first, first + count, device=backbone.device)
        _, height, width = backbone.h_shape
        return AttentionGate(embeds.encoder_hidden_states, tokens, rows, (height, width), self.focus.gate)

    def asking(self, items: Sequence[Item], device: torch.device) -> Asks:
        """What is added to each sample, as a function of h_0."""
        focus = self.focus
        return asking(
            items,
            self.concepts,
            self.others,
            self.strength,
            device,
            adaptive=focus.adaptive,
            keep=focus.keep,
            sharpness=focus.sharpness,
            keep_sharpness=focus.keep_sharpness,
        )

    def _fields(self, items: Sequence[Item], device: torch.device) -> Any:  # noqa: ANN401 (a function of h)
        """What is added to each sample, as a function of the conditional half of h (2 B, C, H, W)."""
        asks = self.asking(items, device)

        def added(h: Tensor) -> Tensor:
            _, total = asks(h[: len(items)].float())
            return torch.cat([torch.zeros_like(total), total])

        return added


def gate_of_pairs(gate: AttentionGate) -> Any:  # noqa: ANN401 (a function without arguments)
    """One gate for an unedited run and the edited one beside it."""

    def both() -> Tensor:
        opened = gate()
        return torch.cat([opened, opened])

    return both


@contextmanager
def _entered(backbone: Backbone, gate: AttentionGate | None, edit: HEdit) -> Iterator[None]:
    with ExitStack() as hooks:
        if gate is not None:
            hooks.enter_context(open_attention_gate(backbone.unet, gate))
        hooks.enter_context(edit_hspace(backbone.unet, edit))
        yield
