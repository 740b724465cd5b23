"""How much of a concept an h holds already, read off with the concept vectors themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError


@dataclass(frozen=True)
class Presence:
    """Probabilities of the concepts of a group, which exclude each other, from h.

    For two concepts with vectors v and means m of h where each is shown, (v_1 - v_2) . (h - (m_1 + m_2) / 2), scaled to
    1 at m_1 and -1 at m_2, is a linear readout; a concept's score is its least readout against the others, as what is
    shown wins against each of them, and the probabilities are a softmax of ``sharpness`` times the scores. (The mean
    readout is no score: of three concepts on a line the middle one has the mean readout 1 at either end, too.)

    Attributes:
        vectors: (K, C, H, W).
        means: (K, C, H, W).
        sharpness: 2 gives a probability of .98 at a class mean of two.
    """

    vectors: Tensor
    means: Tensor
    sharpness: float = 2.0

    @classmethod
    def of(cls, concepts: Sequence[Concept], device: torch.device, sharpness: float = 2.0) -> Presence:
        """From concept files that hold ``presence``."""
        means = []
        for concept in concepts:
            if concept.presence is None:
                raise UserError(
                    f"concept {concept.name!r} was trained without presence, which this edit reads: "
                    "train it with method=focused"
                )
            means.append(concept.presence)
        if len(concepts) < 2:
            names = ", ".join(concept.name for concept in concepts) or "none"
            raise UserError(f"presence compares at least two concepts of a group, got {names}")
        vectors = torch.stack([concept.vector for concept in concepts])
        return cls(vectors.to(device), torch.stack(means).to(device), sharpness)

    def scores(self, h: Tensor) -> Tensor:
        """(B, K) least readouts of h (B, C, H, W): 1 where it is like the concept's mean, -1 where like another's."""
        columns = []
        for k in range(len(self.vectors)):
            readouts = [self._readout(k, other, h) for other in range(len(self.vectors)) if other != k]
            columns.append(torch.stack(readouts).amin(0))
        return torch.stack(columns, dim=1)

    def __call__(self, h: Tensor) -> Tensor:
        """(B, K) probabilities, rows sum to 1."""
        return (self.sharpness * self.scores(h)).softmax(dim=1)

    def _readout(self, one: int, other: int, h: Tensor) -> Tensor:
        direction = self.vectors[one] - self.vectors[other]
        middle, half = (self.means[one] + self.means[other]) / 2, (self.means[one] - self.means[other]) / 2
        length = (direction * half).sum()
        return ((h - middle) * direction).flatten(1).sum(1) / length
