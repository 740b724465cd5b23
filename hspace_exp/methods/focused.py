"""Our own edit: the vector acts where the attribute shows, only where it is needed, and all else is held.

    h' = h + (1 - (1 - hold) G) (h_0 - h) + G a (s v + keep sum_c p_c(h_0) v_c)

h_0 is the h of the unedited run of the same noise, G the gate (``AttentionGate``), a the adaptive strength
(``adaptive_strength``), p the probabilities of ``Presence``, and c the concepts of the other attributes. The gate and
the additions are made here; ``HEdit`` puts them together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError
from hspace_exp.methods.steering import Application, Foresight, Steering, check_targets, strength_of
from hspace_exp.models.attention_gate import AttentionGate, open_attention_gate
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import HEdit
from hspace_exp.models.sampling import Hooks
from hspace_exp.prompts.plan import Item

LEAST_STRENGTH = 0.1  # with a smaller adaptive strength an image counts as showing its target

# h_0 (B, C, H, W) float32 → the adaptive strength a (B,) in [0, 1], and what is added inside the gate (B, C, H, W).
Additions = Callable[[Tensor], tuple[Tensor, Tensor]]


def adaptive_strength(probability: Tensor) -> Tensor:
    """A = min(1, 2 (1 - p)) of the probabilities p of the target, in [0, 1] and of any shape.

    What shows its target already needs no edit, what shows it by half or less all of it.
    """
    return (2 * (1 - probability)).clamp(max=1)


def kept_addition(probabilities: Tensor, vectors: Tensor, keep: float, strength: Tensor) -> Tensor:
    """Keep a sum_c p_c v_c, (B, C, H, W): what asks the other attributes of a person to stay as h_0 shows them.

    Of (B, K) probabilities p, whose rows sum to 1, and (K, C, H, W) vectors v of the concepts of one attribute. The
    (B,) adaptive strength a is that of what is asked for: where nothing is edited, nothing needs to be kept.
    """
    return torch.einsum("bk,kchw->bchw", keep * strength[:, None] * probabilities, vectors)


@dataclass(frozen=True)
class Presence:
    """Probabilities of the concepts of a group, which exclude each other, from h.

    For two concepts with vectors v and means m of h where each is shown, (v_1 - v_2) . (h - (m_1 + m_2) / 2), scaled to
    1 at m_1 and -1 at m_2, is a linear readout; a concept's score is its least readout against the others, as what is
    shown wins against each of them, and the probabilities are a softmax of ``sharpness`` times the scores. (The mean
    readout is no score: of three concepts on a line the middle one has the mean readout 1 at either end, too.)
    """

    vectors: Tensor  # (K, C, H, W)
    means: Tensor  # (K, C, H, W)
    sharpness: float = 2.0  # 2 gives a probability of .98 at a class mean of two

    @classmethod
    def of(cls, concepts: Sequence[Concept], device: torch.device, sharpness: float = 2.0) -> Presence:
        """From concept files that hold ``presence``."""
        means = [concept.presence for concept in concepts if concept.presence is not None]
        if len(means) < len(concepts):
            bare = next(concept.name for concept in concepts if concept.presence is None)
            raise UserError(f"concept {bare!r} has no presence, which this edit reads: train it with method=focused")
        if len(concepts) < 2:
            names = ", ".join(concept.name for concept in concepts) or "none"
            raise UserError(f"presence compares at least two concepts of a group, got {names}")
        vectors = torch.stack([concept.vector for concept in concepts])
        return cls(vectors.to(device), torch.stack(means).to(device), sharpness)

    def scores(self, h: Tensor) -> Tensor:
        """(B, K) least readouts of h (B, C, H, W): 1 where it is like the concept's mean, -1 where like another's."""
        columns = []
        for k, (vector, mean) in enumerate(zip(self.vectors, self.means, strict=True)):
            readouts = []
            for other in range(len(self.vectors)):
                if other != k:
                    direction, half = vector - self.vectors[other], (mean - self.means[other]) / 2
                    along = ((h - (mean + self.means[other]) / 2) * direction).flatten(1).sum(1)
                    readouts.append(along / (direction * half).sum())
            columns.append(torch.stack(readouts).amin(0))
        return torch.stack(columns, dim=1)

    def __call__(self, h: Tensor) -> Tensor:
        """(B, K) probabilities, rows sum to 1."""
        return (self.sharpness * self.scores(h)).softmax(dim=1)


@dataclass(frozen=True)
class Focus:
    """The parts of the focused edit, each a switch; the module says the formula.

    What an image will present is decided late, so an edit that goes along with the unedited run guesses in its first
    steps whether it is needed. With ``foresight`` the unedited run ends first. Its last h tells what is there, its
    attention where, and images that show their target already are left alone to the bit.
    """

    gate: Annotated[float, Field(gt=0, le=1)] | None = 0.3  # share of attention's peak at which it is open; None: G = 1
    # how far h is pulled back to h_0 inside the gate (outside it is h_0); None: h is left alone everywhere
    hold: Annotated[float, Field(ge=0, le=1)] | None = 0.5
    adaptive: bool = True  # strength by need, see ``adaptive_strength``; else a = 1, as for a concept alone
    # strength at which the person's other attributes are asked to stay as h_0 shows them, where an edit is needed (of a
    # composition the largest adaptive strength counts); 0: not at all
    keep: NonNegativeFloat = 0.5
    sharpness: NonNegativeFloat = 2.0  # of the target, see ``Presence``: a low one edits where h is not sure
    keep_sharpness: NonNegativeFloat = 2.0  # of what is kept: a high one holds what h shows, a low one mixes
    foresight: bool = False  # the unedited run comes first; else it goes along, and every step's h says what is needed
    release: bool = False  # with foresight, h is free inside the gate after the method's window
    foresees: ClassVar[bool] = True
    composes: ClassVar[bool] = True  # vectors add up, each as its own attribute needs it; the gate opens for all words

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.release and not self.foresight:
            raise UserError("release needs foresight: set method.edit.foresight=true, or method.edit.release=false")

    @property
    def keeps(self) -> bool:
        """Whether other attributes are held."""
        return self.keep > 0

    def steer(self, application: Application, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``, see ``Editor``, in a second run of those that need an edit."""
        a, count, states, gates = application, len(items), list[Tensor](), list[Tensor | None]()
        additions = self.additions(a, items, backbone.device)
        first = count if guided else 0
        gate = self.open_gate(a, backbone, range(first, first + count))
        asked = torch.tensor([bool(item.target) for item in items], device=backbone.device)

        @contextmanager
        def reading(done: float) -> Iterator[None]:
            with open_attention_gate(backbone.unet, gate), backbone.edited(states.append):
                yield
            gates.append(None if gate is None else gate())

        def then(states: Sequence[Tensor], gates: Sequence[Tensor | None]) -> tuple[Tensor, Hooks]:
            strength, foreseen = additions(states[-1][-count:].float())
            rows = (strength >= LEAST_STRENGTH if self.foresight else asked).nonzero()[:, 0]
            of_batch = torch.cat([rows, rows + count]) if guided else rows
            left = zip(states, gates, strict=True)

            def hooks(done: float) -> AbstractContextManager[object]:
                h_0, opened = next(left)
                total = foreseen if self.foresight else additions(h_0[-count:].float())[1]
                opened = gates[-1] if self.foresight else opened
                inside = done in a.window
                edit = HEdit(
                    vector=total[rows] if inside else None,
                    gate=None if opened is None else opened[rows],
                    hold=self.hold if inside or not self.release or self.hold is None else 0.0,
                    original=h_0[of_batch],
                    guided=guided,
                    branch=a.branch,
                    lowpass=a.frequency.lowpass,
                    lowpass_weight=a.frequency.weight,
                    lowpass_branch=a.frequency.branch,
                )
                return backbone.edited(edit)

            return rows, hooks

        return Steering(reading, foresight=Foresight((states, gates), then, a.runs))

    def open_gate(self, application: Application, backbone: Backbone, rows: range) -> AttentionGate | None:
        """A gate that reads these rows of the batch: the unedited runs' conditional ones."""
        if self.gate is None:
            return None
        pairs = list(dict.fromkeys((some.positive, some.words) for some in application.prompts.values()))
        embeds = backbone.encode_prompts([prompt for prompt, _ in pairs])
        tokens = torch.stack([backbone.word_mask(prompt, words) for prompt, words in pairs])
        read = torch.arange(rows.start, rows.stop, device=backbone.device)
        states, size = backbone.context(embeds.encoder_hidden_states), backbone.h_shape[1:]
        return AttentionGate(states, tokens, read, size, self.gate, embeds.read)

    def additions(self, application: Application, items: Sequence[Item], device: torch.device) -> Additions:
        """A (s v + keep sum_c p_c v_c) of each item, as a function of h_0.

        Raises UserError: an item asks for a concept that is none of the application's.
        """
        check_targets(items, application.concepts)
        parts = []
        for attribute in sorted({concept.attribute for concept in application.concepts.values()}):
            concepts = {name: one for name, one in application.concepts.items() if one.attribute == attribute}
            asked = torch.tensor([[float(name in item.parts) for name in concepts] for item in items], device=device)
            strengths = torch.tensor([strength_of(application.strength, name) for name in concepts], device=device)
            vectors = torch.stack([concept.vector for concept in concepts.values()]).to(device)
            presence = None
            if self.adaptive and len(concepts) > 1:  # a concept alone has nothing to be told from
                presence = Presence.of(list(concepts.values()), device, self.sharpness)
            parts.append((asked, strengths, vectors, presence))
        groups = application.kept.values() if self.keep else ()
        kept = [Presence.of(list(group.values()), device, self.keep_sharpness) for group in groups]

        def of(h_0: Tensor) -> tuple[Tensor, Tensor]:
            needs, terms = [], []
            for asked, strengths, vectors, presence in parts:
                need = asked.sum(1)
                if presence is not None:
                    need = need * adaptive_strength((asked * presence(h_0)).sum(1))
                needs.append(need)
                whole = vectors.expand(-1, *h_0.shape[1:])
                terms.append(torch.einsum("bk,kchw->bchw", need[:, None] * asked * strengths, whole))
            strength, total = torch.stack(needs).amax(0), torch.stack(terms).sum(0)
            for presence in kept:
                vectors = presence.vectors.expand(-1, *h_0.shape[1:])
                total = total + kept_addition(presence(h_0), vectors, self.keep * application.scale, strength)
            return strength, total

        return of
