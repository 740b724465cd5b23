"""The prompt itself names the attribute: no vector, the upper bound for success."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hspace_exp.concepts.concept import Concept
from hspace_exp.methods.added import low_frequencies
from hspace_exp.methods.base import LowFrequency, Method
from hspace_exp.methods.steering import Steering, Window, check_targets
from hspace_exp.models.backbone import Backbone
from hspace_exp.prompts.attributes import Concepts
from hspace_exp.prompts.plan import Item
from hspace_exp.prompts.wording import with_word


@dataclass(frozen=True)
class AttributeWord:
    """Settings: there are none; the words are those of the attribute."""

    @property
    def keeps(self) -> bool:
        """Nothing is held fast."""
        return False

    @property
    def composes(self) -> bool:
        """Several words can stand before a profession."""
        return True

    def make(
        self,
        method: Method,
        prompts: Concepts,
        concepts: Mapping[str, Concept],
        others: Mapping[str, Mapping[str, Concept]],
        frequency: LowFrequency,
    ) -> AttributeWordEdit:
        """The edit, see ``MakeEdit``; ``adjective`` of a concept, or else its ``words``, go into the prompt."""
        words = {name: some.adjective or some.words for name, some in prompts.items()}
        return AttributeWordEdit(words, method.branch, frequency, Window(*method.window))


@dataclass(frozen=True)
class AttributeWordEdit:
    """A batch's prompts with the attribute word, from the same noise.

    Attributes:
        words: concept → the word that stands before the profession.
        branch: of the low-frequency term, where it names none of its own.
        frequency: the low-frequency term.
        window: the steps in which that term acts; the prompt holds for all.
    """

    words: Mapping[str, str]
    branch: str
    frequency: LowFrequency = field(default_factory=LowFrequency)
    window: Window = field(default_factory=Window)

    def __call__(self, backbone: Backbone, items: Sequence[Item], guided: bool) -> Steering:
        """Steering of ``items``."""
        term = low_frequencies(self.frequency, self.branch, self.window, backbone, items, guided)
        return replace(term, prompts=[self.prompt(item) for item in items])

    def prompt(self, item: Item) -> str:
        """The item's prompt with the words of its target; the first part's stands next to the profession."""
        check_targets([item], self.words)
        if not item.target:
            return item.prompt
        return with_word(item.prompt, item.profession, " ".join(self.words[name] for name in reversed(item.parts)))
