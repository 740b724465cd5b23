"""A classifier on h guides sampling: its gradient is added to h in every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hspace_exp.concepts.concept import Concept
from hspace_exp.errors import UserError
from hspace_exp.methods.added import low_frequencies
from hspace_exp.methods.base import LowFrequency, Method
from hspace_exp.methods.h_classifier import LinearClassifier
from hspace_exp.methods.steering import Steering, Strength, Window, no_hooks, targets_of
from hspace_exp.models.backbone import Backbone
from hspace_exp.models.hspace import edit_hspace
from hspace_exp.prompts.attributes import Concepts
from hspace_exp.prompts.plan import Item


@dataclass(frozen=True)
class HGuidance:
    """Settings beside the method's strength, branch and window.

    Attributes:
        temperature: of the probabilities; 8 as released. A classifier of thousands of dimensions is soon sure of
            itself, and the gradient gone.
    """

    temperature: float = 8.0

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.temperature <= 0:
            raise UserError(f"expected a temperature above 0, got {self.temperature}")

    @property
    def keeps(self) -> bool:
        """Nothing is held fast."""
        return False

    @property
    def composes(self) -> bool:
        """The classes of one classifier exclude each other."""
        return False

    def make(
        self,
        method: Method,
        prompts: Concepts,
        concepts: Mapping[str, Concept],
        others: Mapping[str, Mapping[str, Concept]],
        frequency: LowFrequency,
    ) -> HGuidanceEdit:
        """The edit, see ``MakeEdit``."""
        window = Window(*method.window)
        return HGuidanceEdit(concepts, method.strengths(concepts), method.branch, frequency, window, self.temperature)


@dataclass(frozen=True)
class HGuidanceEdit:
    """h' = h + s * r_t^2 * grad_h log p(y | h, t), r_t the usual distance of h from its mean at that noise level.

    So s is the step in coordinates in which h has length one.

    After Parihar et al., "Balancing Act" (CVPR 2024). From the paper and its released code: gradients of a classifier
    on h with respect to h, added to h in every step to both halves of guidance, each half with its own; for a batch
    whose predicted classes should follow a distribution, or for a class that each sample is given. Here every image
    has its target, so it is the form by sample. Our reading: the gradient is that of log p, which fades as the class is
    reached (for samples the released code follows the logit, for batches tempered probabilities, as here), and r_t,
    with which s means the same at all steps and for all models.

    Attributes:
        concepts: the classes, by name.
        strength: s, one number or one a concept.
        branch: ``both`` halves of guidance or the ``conditional`` one.
        frequency: the low-frequency term.
        window: the steps in which the edit acts.
        temperature: see ``HGuidance``.
    """

    concepts: Mapping[str, Concept]
    strength: Strength
    branch: str
    frequency: LowFrequency = field(default_factory=LowFrequency)
    window: Window = field(default_factory=Window)
    temperature: float = 1.0

    def __call__(self, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``."""
        classifier = LinearClassifier.of(list(self.concepts.values()), backbone.device, self.temperature)
        square = classifier.scale.square() * classifier.weights[0].numel()  # r_t^2
        names = list(self.concepts)
        vectors = {name: concept.vector for name, concept in self.concepts.items()}
        asked = targets_of(items, vectors, self.strength, backbone.device)
        target = torch.tensor([names.index(name) if name else 0 for name in asked.names], device=backbone.device)
        term = low_frequencies(self.frequency, self.branch, self.window, backbone, items, guided)
        samples = (2 if term.paired else 1) * len(items)
        rows = own_rows(len(items), samples, guided, self.branch).to(backbone.device)

        def pushed(level: int) -> Callable[[Tensor], Tensor]:
            def push(h: Tensor) -> Tensor:
                size = asked.strength * square[level]
                own, repeats = h[rows].float(), len(rows) // len(items)
                step = size.repeat(repeats)[:, None, None, None] * classifier.gradient(
                    own, level, target.repeat(repeats)
                )
                return h.index_add(0, rows, step.to(h.dtype))

            return push

        def hooks(done: float) -> AbstractContextManager[object]:
            if done not in self.window:
                return no_hooks(done)
            return _entered(edit_hspace(backbone.unet, pushed(classifier.at(done))), term.hooks(done))

        return Steering(hooks, term.paired)


def own_rows(count: int, samples: int, guided: bool, branch: str) -> Tensor:
    """Rows of a batch that are edited: of the last ``count`` samples, in the halves of guidance that ``branch`` names.

    Args:
        count: edited samples B.
        samples: B, or 2 B where the unedited runs go along before them.
        guided: whether rows are laid out [unconditional; conditional].
        branch: ``both`` or ``conditional``.
    """
    last = torch.arange(samples - count, samples)
    if not guided:
        return last
    return torch.cat([last, last + samples]) if branch == "both" else last + samples


@contextmanager
def _entered(*contexts: AbstractContextManager[object]) -> Iterator[None]:
    with ExitStack() as hooks:
        for context in contexts:
            hooks.enter_context(context)
        yield
