"""What a focused edit adds to h, and how much it is needed, by what the h of the unedited run shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.methods.presence import Presence
from hspace_exp.methods.steering import Strength, check_targets, targets_of, within
from hspace_exp.prompts.plan import Item

# h_0 (B, C, H, W) float32 → the need (B,) of each sample in [0, 1], and what is added to it (B, C, H, W).
Asks = Callable[[Tensor], tuple[Tensor, Tensor]]


def asking(
    items: Sequence[Item],
    concepts: Mapping[str, Concept],
    others: Mapping[str, Mapping[str, Concept]],
    strength: Strength,
    device: torch.device,
    *,
    adaptive: bool,
    keep: float,
    sharpness: float,
    keep_sharpness: float,
) -> Asks:
    """What ``items`` are asked for: need s v, and need keep sum_c p_c v_c of the other attributes, see ``Focus``.

    Args:
        items: with their ``target``.
        concepts: that can be asked for, by name; those of one attribute exclude each other.
        others: groups of further concepts, each a mapping by name, that are kept.
        strength: s, one number or one a concept.
        device: of h.
        adaptive: need as h_0 tells it; else 1.
        keep: strength at which ``others`` are kept; 0: not at all.
        sharpness: of the probability of the target, see ``Presence``.
        keep_sharpness: of the probabilities of what is kept.

    Raises:
        UserError: an item asks for a concept that is none of ``concepts``.
    """
    check_targets(items, concepts)
    parts = [
        _of_attribute(within(items, some), some, strength, device, sharpness if adaptive else None)
        for some in by_attribute(concepts)
    ]
    groups = [Presence.of(list(group.values()), device, keep_sharpness) for group in (others.values() if keep else ())]

    def asks(source: Tensor) -> tuple[Tensor, Tensor]:
        found = [part(source) for part in parts]
        total = torch.stack([addition for _, addition in found]).sum(0)
        need = torch.stack([some for some, _ in found]).amax(0)
        for group in groups:
            shown = keep * need[:, None] * group(source)
            total = total + torch.einsum("bk,kchw->bchw", shown, group.vectors.expand(-1, *source.shape[1:]))
        return need, total

    return asks


def by_attribute(concepts: Mapping[str, Concept]) -> list[dict[str, Concept]]:
    """Concepts that exclude each other, in an order that only the names of their attributes decide."""
    found: dict[str, dict[str, Concept]] = {}
    for name, concept in concepts.items():
        found.setdefault(concept.attribute, {})[name] = concept
    return [found[attribute] for attribute in sorted(found)]


def _of_attribute(
    items: Sequence[Item],
    concepts: Mapping[str, Concept],
    strength: Strength,
    device: torch.device,
    sharpness: float | None,
) -> Asks:
    """For one attribute; ``sharpness`` None: need is 1."""
    vectors = {name: concept.vector for name, concept in concepts.items()}
    asked = targets_of(items, vectors, strength, device)
    names = list(concepts)
    index = torch.tensor([names.index(name) if name else 0 for name in asked.names], device=device)
    concerned = torch.tensor([float(bool(name)) for name in asked.names], device=device)
    own = None
    if sharpness is not None and len(concepts) > 1:  # a concept alone has nothing to be told from
        own = Presence.of(list(concepts.values()), device, sharpness)

    def asks(source: Tensor) -> tuple[Tensor, Tensor]:
        need = concerned
        if own is not None:
            there = own(source).gather(1, index[:, None])[:, 0]
            need = concerned * (2 * (1 - there)).clamp(max=1)
        strength = (need * asked.strength)[:, None, None, None]
        return need, strength * asked.vectors.expand(-1, *source.shape[1:])

    return asks
